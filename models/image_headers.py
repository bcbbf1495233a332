"""What a picture's structure says of it, read without decoding it: format, size, orientation, whether it is all there.

JPEG, PNG and WebP are walked by hand, in bounded steps, before any library sees them: a library allocates for the size
that a hostile header claims, reads metadata that may be malformed, and fills what is missing with grey. Nothing here
needs more than the standard library, so a process that only stores pictures stays small.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import Literal

from models.errors import ImageUnreadable, InputTooLarge

ImageFormat = Literal["jpeg", "png", "webp"]


@dataclass(frozen=True)
class ImageLimits:
    """What this box accepts: bytes of a file or raw array, pixels of a picture, pixels along one side of it."""

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 100_000_000
    max_side: int = 16_384

    def check_bytes(self, count: int) -> None:
        """Raises `InputTooLarge` where `count` bytes are too many."""
        if count > self.max_bytes:
            raise InputTooLarge(
                f"The picture has {count / 2**20:.1f} MiB; this box accepts up to {self.max_bytes / 2**20:.0f} MiB."
            )

    def check_size(self, width: int, height: int) -> None:
        """Raises `InputTooLarge` where a picture of `width` x `height` pixels is too large."""
        if max(width, height) > self.max_side or width * height > self.max_pixels:
            raise InputTooLarge(
                f"The picture has {width} x {height} pixels; this box accepts up to "
                f"{self.max_pixels / 1e6:g} megapixels and {self.max_side} pixels a side."
            )


FORMAT_NAMES: dict[ImageFormat, str] = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class ImageHeader:
    """A picture as it is displayed: `width` and `height` in pixels after EXIF `orientation` (1..8) is applied."""

    width: int
    height: int
    format: ImageFormat
    orientation: int = 1


@dataclass(frozen=True)
class Examined:
    """All that the walk through a file found.

    `complete`: the file reaches its end mark. `plain`: a JPEG, or a still WebP without transparency, which OpenCV gets
    right. `pixel_parts`: (start, end) of the parts of the file that make up the pixels; of a PNG metadata is left out.
    """

    header: ImageHeader
    complete: bool
    plain: bool
    pixel_parts: tuple[tuple[int, int], ...]


def read_header(data: bytes | memoryview, limits: ImageLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Size as displayed, format and orientation; the beginning of a file is enough.

    Orientation comes from EXIF (JPEG's APP1, PNG's eXIf, WebP's EXIF chunk); malformed EXIF counts as none. Raises
    `ImageUnreadable` for what is no JPEG, PNG or WebP or ends within its header, `InputTooLarge` beyond the limits.
    """
    return examine(data, limits).header


def check_picture(data: bytes | memoryview, limits: ImageLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Whether these bytes are a whole picture, without decoding it: microseconds for a camera's JPEG.

    Damage inside the pixel data is not seen. Raises `ImageUnreadable` (also for a file that was cut off) and
    `InputTooLarge`.
    """
    return examine_whole(data, limits).header


def examine_whole(data: bytes | memoryview, limits: ImageLimits) -> Examined:
    """`examine`, refusing what was cut off. Raises `ImageUnreadable` and `InputTooLarge`."""
    examined = examine(data, limits)
    if not examined.complete:
        name = FORMAT_NAMES[examined.header.format]
        raise ImageUnreadable(
            f"The {name} picture was cut off: its end is missing after {len(data)} bytes. Send the whole file."
        )
    return examined


def examine(data: bytes | memoryview, limits: ImageLimits) -> Examined:
    """Walk through a file (contiguous bytes). Raises `ImageUnreadable` and `InputTooLarge`."""
    limits.check_bytes(len(data))
    view = memoryview(data)
    head = bytes(view[:64])
    if head.startswith(b"\xff\xd8\xff"):
        examined = _examine_jpeg(view)
    elif head.startswith(_PNG_SIGNATURE):
        examined = _examine_png(view)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        examined = _examine_webp(view)
    else:
        raise ImageUnreadable(f"{_what_it_is(head, len(data))} Send a JPEG, PNG or WebP picture.")
    limits.check_size(examined.header.width, examined.header.height)
    return examined


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_OTHERS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"RIFF": "an audio or video file",
    b"\x93NUMPY": "a numpy file",
}


def _what_it_is(head: bytes, size: int) -> str:
    """A sentence on bytes that are none of our formats, for the person who sent them."""
    if not size:
        return "The picture is empty (0 bytes)."
    for signature, name in _OTHERS.items():
        if head.startswith(signature):
            return f"This is {name}, which cannot be read."
    if head[4:8] == b"ftyp":
        return "This is a HEIC, an AVIF or a video, which cannot be read."
    if _is_text(head):
        return "This is text, no picture."
    return f"These {size} bytes are no picture that can be read; they begin with {head[:8].hex(' ')}."


def _is_text(head: bytes) -> bool:
    try:  # incrementally, as the last character may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\ufeff" for character in text)


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_MAX_PARTS = 50_000  # a file of nothing but empty segments would keep the walk busy for seconds


def damaged(image_format: ImageFormat, what: str) -> ImageUnreadable:
    return ImageUnreadable(
        f"The {FORMAT_NAMES[image_format]} picture is damaged: {what}. Send the file as it was written."
    )


def _header(image_format: ImageFormat, width: int, height: int, orientation: int) -> ImageHeader:
    """The header as displayed, of a picture stored with `width` x `height` pixels."""
    if width <= 0 or height <= 0:
        raise damaged(image_format, f"its header says {width} x {height} pixels")
    if orientation >= 5:  # a quarter turn
        width, height = height, width
    return ImageHeader(width, height, image_format, orientation)


# ── JPEG (ITU T.81, annex B) ────────────────────────────────────────────────────────────────────────────────────────

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a stuffed byte, nor a fill byte, nor a restart in the scan
_SOI, _EOI, _SOS, _APP1, _TEM = 0xD8, 0xD9, 0xDA, 0xE1, 0x01
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..15 without DHT, JPG and DAC
_TAIL = 4096


def _examine_jpeg(view: memoryview) -> Examined:
    width = height = channels = 0
    orientation: int | None = None
    complete = False
    for marker, start, end in _jpeg_segments(view):
        body = start + 4
        if end > len(view) or marker == _EOI:
            break
        if marker in _FRAMES and not channels and end - body >= 6:
            precision, height, width, channels = unpack_from(">BHHB", view, body)
            if precision != 8:
                raise ImageUnreadable(f"The JPEG picture has {precision} bits a channel; only 8 can be read.")
        elif marker == _APP1 and orientation is None and bytes(view[body : body + 6]) == b"Exif\0\0":
            orientation = _exif_orientation(view[body + 6 : end])
        elif marker == _SOS:
            complete = _jpeg_ends(view, end)
            break
    if not channels:
        raise damaged("jpeg", "it ends before it says its size")
    return Examined(_header("jpeg", width, height, orientation or 1), complete, True, ((0, len(view)),))


def _jpeg_segments(view: memoryview, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment; `end` may lie beyond the file.

    What lies between segments is skipped: the data of a scan, and stray bytes, which libjpeg passes over too.
    """
    for _ in range(_MAX_PARTS):
        found = _MARKER.search(view, position)
        if found is None:
            return
        marker, position = view[found.end() - 1], found.end()
        if marker not in (_SOI, _EOI, _TEM):
            length = unpack_from(">H", view, position)[0] if position + 2 <= len(view) else len(view)
            if length < 2:
                raise damaged("jpeg", f"a segment at byte {found.start()} has no length")
            position += length
        yield marker, found.start(), position
    raise damaged("jpeg", f"it has more than {_MAX_PARTS} segments")


def _jpeg_ends(view: memoryview, scan: int) -> bool:
    """Whether an end marker follows the first scan (which begins at `scan`).

    A camera's file ends with it, perhaps padded. Where something else follows (a second picture, a maker's trailer) the
    rest is walked; looking for the two bytes anywhere would find the end of the thumbnail in the metadata.
    """
    tail = bytes(view[-_TAIL:]).rstrip(b"\x00\xff\r\n ")
    if tail.endswith(b"\xff\xd9"):
        return True
    return any(marker == _EOI for marker, _, _ in _jpeg_segments(view, scan))


# ── PNG (W3C PNG, 5) ────────────────────────────────────────────────────────────────────────────────────────────────

_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def _examine_png(view: memoryview) -> Examined:
    parts = [(0, len(_PNG_SIGNATURE))]
    orientation: int | None = None
    has_pixels = complete = False
    position = len(_PNG_SIGNATURE)
    if len(view) < 33 or bytes(view[12:16]) != b"IHDR":
        raise damaged("png", "its header is missing or cut off")
    width, height = unpack_from(">II", view, 16)
    for _ in range(_MAX_PARTS):
        if complete or position + 12 > len(view):
            break
        length, kind = unpack_from(">I4s", view, position)
        end = position + 12 + length
        if end > len(view):
            break
        if kind in _PNG_PIXELS:
            parts.append((position, end))
        elif kind == b"eXIf" and orientation is None:
            orientation = _exif_orientation(view[position + 8 : end - 4])
        has_pixels |= kind == b"IDAT"
        complete = kind == b"IEND"
        position = end
    else:
        raise damaged("png", f"it has more than {_MAX_PARTS} chunks")
    return Examined(_header("png", width, height, orientation or 1), complete and has_pixels, False, tuple(parts))


# ── WebP (RFC 9649) ─────────────────────────────────────────────────────────────────────────────────────────────────

_WEBP_ANIMATION, _WEBP_EXIF, _WEBP_ALPHA = 0x02, 0x08, 0x10


def _examine_webp(view: memoryview) -> Examined:
    if len(view) < 30:
        raise damaged("webp", "its header is cut off")
    orientation, plain = 1, True
    kind = bytes(view[12:16])
    if kind == b"VP8X":
        width = 1 + int.from_bytes(view[24:27], "little")
        height = 1 + int.from_bytes(view[27:30], "little")
        plain = not view[20] & (_WEBP_ALPHA | _WEBP_ANIMATION)
        if view[20] & _WEBP_EXIF:
            orientation = _webp_orientation(view)
    elif kind == b"VP8L" and view[20] == 0x2F:
        (bits,) = unpack_from("<I", view, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        plain = not bits >> 28 & 1  # else transparency is used
    elif kind == b"VP8 " and bytes(view[23:26]) == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in unpack_from("<HH", view, 26))
    else:
        raise damaged("webp", "its header is none that WebP knows")
    (size,) = unpack_from("<I", view, 4)
    return Examined(_header("webp", width, height, orientation), size + 8 <= len(view), plain, ((0, len(view)),))


def _webp_orientation(view: memoryview) -> int:
    position = 12
    for _ in range(_MAX_PARTS):
        if position + 8 > len(view):
            break
        kind, length = unpack_from("<4sI", view, position)
        if kind == b"EXIF":
            return _exif_orientation(view[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return 1


# ── EXIF ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_ORIENTATION_TAG = 0x0112
_INTEGER_TYPES = {1: "B", 3: "H", 4: "I"}


def _exif_orientation(exif: memoryview) -> int:
    """Orientation 1..8 in the first directory of a TIFF block; 1 where it is missing or the block makes no sense."""
    if bytes(exif[:6]) == b"Exif\0\0":  # belongs to JPEG only, but is written elsewhere too
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(bytes(exif[:2]))
    if order is None or len(exif) < 8:
        return 1
    (directory,) = unpack_from(f"{order}I", exif, 4)
    if directory + 2 > len(exif):
        return 1
    (count,) = unpack_from(f"{order}H", exif, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = unpack_from(f"{order}HH", exif, entry)
        if tag == _ORIENTATION_TAG:
            (value,) = unpack_from(f"{order}{_INTEGER_TYPES.get(kind, 'H')}", exif, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1
