"""Photographs that scikit-image ships, as a camera would send them, and where a person sees what is in them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import skimage.data
from numpy.typing import NDArray
from PIL import Image

pictures: Any = skimage.data  # its functions carry no types

Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""


@dataclass(frozen=True)
class Photograph:
    """A JPEG, its pixels before they were encoded (uint8, height x width x RGB), and the one thing that it shows."""

    shows: str
    box: Box
    pixels: NDArray[Any]
    jpeg: bytes


def jpeg_of(pixels: NDArray[Any], **options: Any) -> bytes:
    """Encode uint8 pixels; `options` are Pillow's."""
    return encoded(pixels, "JPEG", quality=90, **options)


def encoded(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    """Encode uint8 pixels as Pillow's format `kind`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(shows: str, pixels: NDArray[Any], box: Box) -> Photograph:
    """A photograph with the box that was drawn by hand."""
    return Photograph(shows, box, pixels, jpeg_of(pixels))


CAT = photograph("cat", pictures.chelsea(), (10, 0, 385, 300))
CUP = photograph("cup", pictures.coffee(), (173, 17, 237, 293))
PERSON = photograph("person", pictures.astronaut(), (20, 15, 342, 497))
MOTORCYCLE = photograph("motorcycle", pictures.stereo_motorcycle()[0], (92, 70, 592, 382))
ALL = (CAT, CUP, PERSON, MOTORCYCLE)


def intersection_over_union(one: Box, other: Box) -> float:
    """How much two boxes are the same: 0..1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def best(answer: dict[str, Any]) -> dict[str, Any]:
    """The box of an answer that the model is surest of."""
    found: list[dict[str, Any]] = answer["box_detections"]
    assert found, "nothing was found"
    return max(found, key=lambda detection: float(detection["confidence"]))


def box_of(detection: dict[str, Any]) -> Box:
    """A detection's box."""
    return (detection["x"], detection["y"], detection["width"], detection["height"])


def assert_sees(answer: dict[str, Any], photograph: Photograph, box: Box | None = None) -> None:
    """The best detection of an answer must be what the photograph shows, and lie where a person sees it."""
    detection = best(answer)
    assert detection["category_name"] == photograph.shows
    assert detection["confidence"] > 0.5
    where = box or photograph.box
    assert intersection_over_union(box_of(detection), where) >= 0.6, (
        f"{photograph.shows} at {box_of(detection)}, a person sees it at {where}"
    )
