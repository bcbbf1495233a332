"""Everything from bytes or an array to uint8 RGB at the size that a model needs.

A JPEG is decoded by OpenCV straight at a half, a quarter or an eighth of its size, which costs about half of a full
decode. PNG, and WebP with transparency, are decoded by Pillow, which gets to see the parts that make up pixels and no
metadata, and is silent about damage; libjpeg inside OpenCV may write a line about it to stderr. EXIF orientation is
applied to the small picture. Colours are taken as they are stored: no colour profile is applied, and CMYK is inverted as
Adobe writes it.

All functions are free of state and release the GIL while they decode and resize, so several threads may prepare
pictures at once. How many threads OpenCV itself uses (`cv2.setNumThreads`) is the caller's choice: one is right where
pictures are prepared in parallel anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageUnreadable, InputTooLarge
from models.geometry import Placement
from models.image_headers import (
    DEFAULT_LIMITS,
    Examined,
    ImageFormat,
    ImageHeader,
    ImageLimits,
    check_picture,
    damaged,
    examine_whole,
    read_header,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "DEFAULT_LIMITS",
    "ImageFormat",
    "ImageHeader",
    "ImageLimits",
    "Prepared",
    "Reduction",
    "Resize",
    "array_from_raw",
    "check_picture",
    "encode_jpeg",
    "prepare",
    "prepare_array",
    "read_header",
    "reduction_for",
]

Pixels = NDArray[np.uint8]
Resize = Literal["stretch", "letterbox"]
Reduction = Literal[1, 2, 4, 8]

LETTERBOX_GREY = 114
"""What fills a letterbox beside the picture; what YOLO models are trained with."""


@dataclass(frozen=True)
class Prepared:
    """A picture, ready for a model.

    `pixels`: uint8 RGB (height, width, 3), C-contiguous, at the model's size; may share memory with what it was made
    of. `placement` leads boxes back to the picture as displayed, of `source_width` x `source_height` pixels.
    """

    pixels: Pixels
    placement: Placement
    source_width: int
    source_height: int


def prepare(
    data: bytes | memoryview,
    width: int,
    height: int,
    resize: Resize = "stretch",
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Prepared:
    """Decode a JPEG, PNG or WebP for a model input of `width` x `height` pixels.

    Transparency is laid over white, as a page would show it (a single transparent colour of a 16-bit PNG is ignored);
    16 bits a channel are scaled to 8; of an animation the first frame counts. Raises `ImageUnreadable` for what is no
    whole picture and `InputTooLarge` beyond the limits.
    """
    examined = examine_whole(data, limits)
    header = examined.header
    placement = _place(header.width, header.height, width, height, resize)
    stored = _turned(header.width, header.height, header.orientation)
    target = _turned(placement.placed_width, placement.placed_height, header.orientation)
    factor = reduction_for(*stored, *target)
    if examined.plain:
        pixels = _swap_red_and_blue(_resize(_decode_with_opencv(data, header.format, factor), *target))
    else:
        pixels = _resize(_decode_with_pillow(data, examined, stored, factor), *target)
    pixels = _pad(_upright(pixels, header.orientation), placement)
    return Prepared(pixels, placement, header.width, header.height)


def prepare_array(array: Pixels, width: int, height: int, resize: Resize = "stretch") -> Prepared:
    """Bring uint8 RGB (h, w, 3) to a model input of `width` x `height` pixels. Raises `ImageUnreadable`."""
    _require_rgb(array)
    source_height, source_width = array.shape[:2]
    placement = _place(source_width, source_height, width, height, resize)
    pixels = _resize(array, placement.placed_width, placement.placed_height)
    return Prepared(_pad(pixels, placement), placement, source_width, source_height)


def reduction_for(source_width: int, source_height: int, target_width: int, target_height: int) -> Reduction:
    """By how much a picture may be shrunk at once (all in pixels) before it is resized to the target.

    The largest factor that leaves at least 0.9 x of the target on both sides: enlarging by a tenth costs less detail
    than the model's own resizing does in training, and lets 1080p reach a 300-pixel model by 4 (480 x 270), not 2.
    """
    factors: tuple[Reduction, ...] = (8, 4, 2)
    for factor in factors:
        width, height = source_width // factor, source_height // factor
        if 10 * width >= 9 * target_width and 10 * height >= 9 * target_height:
            return factor
    return 1


def array_from_raw(
    data: bytes | memoryview,
    dtype: str,
    shape: Sequence[float],
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Pixels:
    """Raw pixels as robots send them over Socket.IO -> uint8 RGB (h, w, 3), C-contiguous.

    `data` is in C order and RGB; `shape` is (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), whose alpha is dropped: a
    camera's fourth channel is filler. Numbers in it may be floats without a fraction, as JavaScript sends them. Colour
    uint8 is not copied: the array is a read-only view of `data` then.

    Every number type means 0..255. bool is black and white; floats are rounded. Values beyond 0..255, NaN and infinity
    are refused, and so are fractions that all lie between 0 and 1: that is a picture scaled to 0..1, which would be
    read as black. Raises `ImageUnreadable`, or `InputTooLarge` beyond the limits.
    """
    height, width, channels = _raw_shape(shape)
    limits.check_size(width, height)
    kind = _RAW_DTYPES.get(dtype) if isinstance(dtype, str) else None
    if kind is None:
        shown = f"{dtype!r:.40}" if isinstance(dtype, str) else type(dtype).__name__
        raise ImageUnreadable(f"The dtype {shown} is none of a picture; send uint8 with values 0 to 255.")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ImageUnreadable(f"The pixels are {type(data).__name__}; send them as bytes.")
    limits.check_bytes(len(data))
    expected = height * width * channels * kind.itemsize
    if len(data) != expected:
        raise ImageUnreadable(
            f"{len(data)} bytes came where shape {height} x {width} x {channels} of {kind.name} needs {expected}; "
            "send shape and dtype of the array that the bytes were taken from."
        )
    array = _as_uint8(np.frombuffer(data, dtype=kind).reshape(height, width, channels))
    return _as_rgb(array)


def encode_jpeg(array: Pixels, quality: int = 90) -> bytes:
    """uint8 RGB (h, w, 3) -> JPEG of `quality` 1..100. Raises `ImageUnreadable` for another shape or dtype."""
    import cv2

    _require_rgb(array)
    try:
        done, encoded = cv2.imencode(".jpg", _swap_red_and_blue(array), [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ImageUnreadable("The picture could not be written as JPEG.") from error
    if not done:
        raise ImageUnreadable("The picture could not be written as JPEG.")
    return encoded.tobytes()


# ── decoding ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _decode_with_opencv(data: bytes | memoryview, image_format: ImageFormat, factor: Reduction) -> Pixels:
    """BGR, not turned; a JPEG at 1/`factor` of its size (rounded up), anything else at its full size."""
    import cv2

    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[factor if image_format == "jpeg" else 1]  # other formats it would decode in full and thin out
    try:
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise damaged(image_format, "it could not be decoded") from error
    if decoded is None:
        raise damaged(image_format, "it could not be decoded")
    return np.asarray(decoded, dtype=np.uint8)


def _decode_with_pillow(
    data: bytes | memoryview, examined: Examined, stored: tuple[int, int], factor: Reduction
) -> Pixels:
    """RGB of whatever OpenCV would get wrong, not turned, at 1/`factor` of its size (rounded up)."""
    view = memoryview(data)
    file = BytesIO(b"".join(view[start:end] for start, end in examined.pixel_parts))
    try:
        with _open_with_pillow(file, examined.header.format) as image:
            if image.size != stored:
                raise ValueError(f"its parts have {stored} and {image.size} pixels")
            return _flatten(image, factor)
    except Exception as error:  # Pillow's readers raise whatever their parsers trip over: a dozen types, none common
        raise damaged(examined.header.format, f"it could not be decoded ({error})") from error


def _open_with_pillow(file: BytesIO, image_format: ImageFormat) -> Image.Image:
    """The reader itself instead of `Image.open`, which warns about sizes that the limits have allowed already."""
    from PIL import PngImagePlugin, WebPImagePlugin

    return PngImagePlugin.PngImageFile(file) if image_format == "png" else WebPImagePlugin.WebPImageFile(file)


def _flatten(image: Image.Image, factor: int) -> Pixels:
    """RGB of a picture in any of Pillow's modes, shrunk by `factor` before it is copied."""
    import cv2
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to 255 instead of scaling it
        grey = cv2.convertScaleAbs(np.asarray(image), alpha=1 / 257)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):  # a palette's numbers cannot be averaged
        image = image.convert("RGB")
    if factor > 1:
        image = image.reduce(factor)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


# ── size and orientation ────────────────────────────────────────────────────────────────────────────────────────────


def _place(source_width: int, source_height: int, width: int, height: int, resize: Resize) -> Placement:
    place = Placement.letterbox if resize == "letterbox" else Placement.stretch
    return place(source_width, source_height, width, height)


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize without aliasing, at a cost near that of bilinear interpolation.

    Halving again and again is ten times cheaper than averaging areas at once, and exact: an odd last row or column is
    left out, as pixels averaged at drifting positions give moire. What is left to shrink is less than about two, which
    bilinear interpolation does well, except along one side of a picture that is squeezed: there areas are averaged.
    """
    import cv2

    while reduction_for(*_size(pixels), width, height) > 1:
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        even = pixels[: 2 * half[1], : 2 * half[0]]
        pixels = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    have = _size(pixels)
    squeezed = (width if have[0] >= 2 * width else have[0], height if have[1] >= 2 * height else have[1])
    if squeezed != have:
        pixels = np.asarray(cv2.resize(pixels, squeezed, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if squeezed != (width, height):
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return pixels


def _size(pixels: Pixels) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    return width, height


_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""EXIF orientation -> OpenCV's flip code (1 left-right, 0 upside down, -1 both), after the transposition from 5 on."""


def _turned(width: int, height: int, orientation: int) -> tuple[int, int]:
    """A size as displayed -> as stored, and back: from 5 on there is a quarter turn between them."""
    return (height, width) if orientation >= 5 else (width, height)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a picture from how it is stored to how it is displayed."""
    import cv2

    if orientation >= 5:
        pixels = np.asarray(cv2.transpose(pixels), dtype=np.uint8)
    if orientation in _FLIPS:
        pixels = np.asarray(cv2.flip(pixels, _FLIPS[orientation]), dtype=np.uint8)
    return pixels


def _pad(pixels: Pixels, placement: Placement) -> Pixels:
    """Fill up to the model's input where the picture does not cover it; C-contiguous."""
    import cv2

    right = placement.input_width - placement.placed_width - placement.pad_x
    bottom = placement.input_height - placement.placed_height - placement.pad_y
    if placement.pad_x or placement.pad_y or right or bottom:
        grey = (LETTERBOX_GREY,) * 3
        border = (placement.pad_y, bottom, placement.pad_x, right)
        pixels = np.asarray(cv2.copyMakeBorder(pixels, *border, cv2.BORDER_CONSTANT, value=grey), dtype=np.uint8)
    return np.ascontiguousarray(pixels)


def _swap_red_and_blue(pixels: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


# ── raw arrays ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _spellings(name: str) -> dict[str, np.dtype[np.generic]]:
    """numpy's ways of writing one type: `uint16`, `u2`, `<u2`, `>u2`, …"""
    code = np.dtype(name).str[1:]
    return {spelling: np.dtype(spelling) for spelling in (name, code, f"<{code}", f">{code}", f"={code}", f"|{code}")}


_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]

_RAW_DTYPES = {
    spelling: dtype
    for name in ("bool", *_INTEGERS, "float16", "float32", "float64")
    for spelling, dtype in _spellings(name).items()
}
"""A closed list: numpy itself would also take structures, objects and strings of any length from whoever asks."""


_LONGEST_SIDE = 1_000_000_000
"""Beyond any limit; Python cannot even print every whole number that a sender may make up."""


def _raw_shape(shape: Sequence[float]) -> tuple[int, int, int]:
    """Height, width, channels, as whole numbers above zero."""
    whole = [side for side in shape if _is_whole(side)] if isinstance(shape, list | tuple) else []
    if any(side > _LONGEST_SIDE for side in whole):
        raise InputTooLarge(f"The shape ({_shown(shape)}) is larger than any picture that this box accepts.")
    if len(whole) in (2, 3) and len(whole) == len(shape):
        height, width, channels = ([int(side) for side in whole] + [1])[:3]
        if height > 0 and width > 0 and channels in (1, 3, 4):
            return height, width, channels
    raise ImageUnreadable(
        f"The shape ({_shown(shape)}) is none of a picture; send (height, width) or (height, width, channels) as whole "
        "numbers above zero, with 1, 3 or 4 channels."
    )


def _is_whole(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _shown(shape: object) -> str:
    """A shape from outside, whatever it is, in a few words."""
    if not isinstance(shape, list | tuple):
        return type(shape).__name__
    sides = [f"{side:g}" if isinstance(side, float) else _shown_whole(side) for side in shape[:4]]
    return ", ".join(sides + ["…"] * (len(shape) > 4))


def _shown_whole(side: object) -> str:
    if isinstance(side, bool) or not isinstance(side, int):
        return type(side).__name__
    return str(side) if abs(side) <= _LONGEST_SIDE else "a huge number"


def _as_uint8(array: NDArray[Any]) -> Pixels:
    """Pixels of any number type as 0..255. Raises `ImageUnreadable` for values that are no pixels."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        black_and_white: Pixels = np.where(array, np.uint8(255), np.uint8(0))
        return black_and_white
    with np.errstate(invalid="ignore"):  # NaN fails the comparison, which is all that has to happen
        low, high = array.min().item(), array.max().item()
    if not (low >= 0 and high <= 255):
        raise ImageUnreadable(f"The pixels have values from {low:g} to {high:g}; send 0 to 255, uint8 at best.")
    if array.dtype.kind == "f":
        rounded = np.rint(array)
        if high <= 1 and not np.array_equal(rounded, array):
            raise ImageUnreadable("The pixels have values between 0 and 1; send 0 to 255, uint8 at best.")
        array = rounded
    pixels: Pixels = array.astype(np.uint8)
    return pixels


def _as_rgb(array: Pixels) -> Pixels:
    """(h, w, 1 | 3 | 4) -> (h, w, 3)."""
    import cv2

    conversion = {1: cv2.COLOR_GRAY2RGB, 4: cv2.COLOR_RGBA2RGB}.get(array.shape[2])
    return array if conversion is None else np.asarray(cv2.cvtColor(array, conversion), dtype=np.uint8)


def _require_rgb(array: Pixels) -> None:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ImageUnreadable(f"Expected uint8 pixels of shape (height, width, 3), got {array.dtype} {array.shape}.")
