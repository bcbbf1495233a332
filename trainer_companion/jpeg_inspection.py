"""Whether a JPEG is whole: decoded to its end, in a process of its own.

Most damage does not keep a JPEG from being decoded: libjpeg warns on standard error, and part of the picture is wrong. A
process whose standard error is nobody else's hears that, as jpeginfo does; and a picture that ends its decoder does not end
the trainer.

    python -m trainer_companion.jpeg_inspection     paths, a JSON list a line; for each what is wrong or null, a list a line
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from trainer_companion.children import ChildFailed

START_WITHIN_S = 60.0
ANSWER_WITHIN_S = 20.0
END_WITHIN_S = 5.0
LONGEST_WORDS = 200

_READY = "ready"


class JpegInspector:
    """Inspects in a process that begins with the first picture and ends with `close`. Any thread may ask.

    All methods block.
    """

    def __init__(self, program: list[str] | None = None) -> None:
        self._program = program or [sys.executable, "-m", __name__]
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._closed = False

    def __enter__(self) -> JpegInspector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def flaws(self, paths: Sequence[Path]) -> list[str | None]:
        """What is wrong with each of these JPEGs; None where it is whole. Several at once cost less than one by one.

        Raises `ChildFailed` where no process can be had, or after `close`.
        """
        with self._turn:
            try:
                return self._answer(self._alive(), paths)
            except (OSError, ValueError):
                self._end()
            return [self._flaw(path) for path in paths]

    def _flaw(self, path: Path) -> str | None:
        for _ in range(2):  # it may have been ended by somebody who needed its memory: that is no flaw
            process = self._alive()
            try:
                return self._answer(process, [path])[0]
            except TimeoutError:
                self._end()
                return f"it cannot be decoded within {ANSWER_WITHIN_S:.0f} s"
            except (OSError, ValueError):
                self._end()
        return "the decoder does not survive it"

    def close(self) -> None:
        """End the process, once it has answered."""
        with self._turn:
            self._closed = True
            self._end()

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise ChildFailed("pictures are not inspected any more")
        if self._process is None:
            try:
                self._process = subprocess.Popen(  # noqa: S603 # our own module, by the same Python
                    self._program,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "OPENCV_LOG_LEVEL": "SILENT"},
                    start_new_session=True,  # Ctrl-C is not meant for it
                )
                if self._line(self._process, START_WITHIN_S) != _READY:
                    raise ValueError
            except (OSError, ValueError) as error:
                self._end()
                raise ChildFailed("the process that inspects pictures does not start") from error
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], paths: Sequence[Path]) -> list[str | None]:
        assert process.stdin is not None
        process.stdin.write(json.dumps([str(path) for path in paths]).encode() + b"\n")
        process.stdin.flush()
        found: list[str | None] = self._line(process, ANSWER_WITHIN_S)
        return found

    def _line(self, process: subprocess.Popen[bytes], within: float) -> Any:
        """What it says next. Raises `TimeoutError` where that takes too long, `ValueError` where it is nothing."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], within)
        if not ready:
            raise TimeoutError
        return json.loads(process.stdout.readline())

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()  # at which it ends
        try:
            process.wait(END_WITHIN_S)  # unless it hangs
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def main() -> int:
    """The process: answers until standard input ends."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    warnings = os.memfd_create("warnings")
    os.dup2(warnings, 2)

    def flaw(path: str) -> str | None:
        os.ftruncate(warnings, 0)
        os.lseek(warnings, 0, os.SEEK_SET)
        try:
            data = np.fromfile(path, np.uint8)
            # An eighth of the size: all of the code is read, and little of it turned into pixels.
            picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)
        except (OSError, cv2.error) as error:
            return str(error)[:LONGEST_WORDS]
        said = os.pread(warnings, LONGEST_WORDS, 0).decode("utf-8", "replace").strip()
        if picture is None:
            return said or "it cannot be decoded"
        return said or None

    def say(words: object) -> None:
        sys.stdout.write(f"{json.dumps(words)}\n")
        sys.stdout.flush()

    say(_READY)
    for line in sys.stdin:
        say([flaw(path) for path in json.loads(line)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
