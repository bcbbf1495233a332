"""Helper processes of the benchmark that are told what to do by JSON lines, and answer with JSON lines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any


class LineProcess:
    """A script that has written `{"ready": true}` and now answers each line with a line. Ends with its context."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = " ".join(command)
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[str] = self._process.stdin
        self._output: IO[str] = self._process.stdout

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def tell(self, message: dict[str, Any] | str) -> None:
        """Send one line and do not wait."""
        self._input.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self._input.flush()

    def hear(self) -> Any:
        """Wait for one line. Raises RuntimeError with the script's complaint if it has ended."""
        line = self._output.readline()
        if not line:
            raise RuntimeError(f"{self._command} ended early:\n{self._log.read_text(errors='replace')[-4000:]}")
        return json.loads(line)

    def __enter__(self) -> LineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._input.close()
        self._process.kill()
        self._process.wait()
        self._output.close()
