"""Whether pictures that came from the Loop are whole: by jpeginfo where that is installed, else by decoding them."""

from __future__ import annotations

import functools
import io
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import DetectorApplianceError, ImageUnreadable, InputTooLarge
from models.image_headers import DEFAULT_LIMITS, check_picture
from trainer_companion.children import ChildFailed
from trainer_companion.jpeg_inspection import JpegInspector
from trainer_companion.loop_dataset import Stored

Inspect = Callable[[Sequence[tuple[Path, bytes]]], "list[Stored | DetectorApplianceError]"]
"""Files and their bytes -> pictures as displayed, or what is wrong with them."""


@functools.lru_cache(maxsize=1)
def _jpeginfo() -> str | None:
    return shutil.which("jpeginfo")


def inspected(jpegs: JpegInspector, pictures: Sequence[tuple[Path, bytes]]) -> list[Stored | DetectorApplianceError]:
    """Pictures as displayed (their names are left to others), where they are whole.

    `ImageUnreadable` or `InputTooLarge` in place of one that is not. Blocks. Raises `ChildFailed`.
    """
    found = [_by_itself(path, data) for path, data in pictures]
    if _jpeginfo() is None:
        left = [n for n, each in enumerate(found) if isinstance(each, Stored) and _is_jpeg(pictures[n][1])]
        for n, flaw in zip(left, jpegs.flaws([pictures[n][0] for n in left]) if left else [], strict=True):
            if flaw is not None:
                found[n] = ImageUnreadable(f"The JPEG is damaged: {flaw}")
    return found


def _is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8")


def _by_itself(path: Path, data: bytes) -> Stored | DetectorApplianceError:
    """What is known of a picture without the inspector of JPEGs."""
    tool = _jpeginfo()
    try:
        header = check_picture(data, DEFAULT_LIMITS)
        if header.format != "jpeg":
            _decode(data)
        elif tool is not None:
            said = _asked(tool, path)
            if b"OK" not in said.stdout:
                words = said.stdout[-200:].decode("utf-8", "replace").strip()
                raise ImageUnreadable(f"jpeginfo finds it damaged: {words}")
    except (ImageUnreadable, InputTooLarge) as error:
        return error
    return Stored("", header.width, header.height)


def _asked(tool: str, path: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run([tool, "-c", str(path)], capture_output=True, timeout=60, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ImageUnreadable("jpeginfo does not come to an end with it.") from error
    except OSError as error:
        raise ChildFailed(f"jpeginfo cannot be started: {error.strerror or error}") from error


def _decode(data: bytes) -> None:
    """All of it, by Pillow, which notices when the end is missing."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The picture cannot be decoded: {str(error)[:100]}.") from error
