"""Pictures for pages: small JPEGs, what was found as marks over them, and a shelf that holds a few of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from appliance.inference.waiting import Picture
from models import images
from models.images import ImageLimits
from models.wire.detections import SegmentationDetection
from models.wire.image_metadata import ImageMetadata
from ui.kit.marks import Corner, Mark

T = TypeVar("T")

LONGEST_SIDE = 1280
"""Pixels of a picture that fills a page."""

THUMB_SIDE = 480
"""Pixels of one among others."""

THUMB_QUALITY = 75

MIB = 2**20


class Shelf:
    """The bytes of a few pictures by their keys; the least recently put ones go when there are too many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: OrderedDict[str, bytes] = OrderedDict()

    def put(self, key: str, data: bytes) -> None:
        """Keep this."""
        self.take(key)
        self._items[key] = data
        self._bytes += len(data)
        while self._bytes > self._max_bytes and len(self._items) > 1:
            self.take(next(iter(self._items)))

    def get(self, key: str) -> bytes | None:
        """What is kept; None if it is gone."""
        return self._items.get(key)

    def take(self, key: str) -> None:
        """Keep it no more."""
        self._bytes -= len(self._items.pop(key, b""))


class Maker:
    """Makes small JPEGs in threads, two at a time: detecting comes first."""

    def __init__(self, limits: Callable[[], ImageLimits]) -> None:
        self.spent = 0.0
        """Processor seconds, so far."""
        self._limits = limits
        self._turns = asyncio.Semaphore(2)
        self._counting = threading.Lock()

    async def small(self, picture: Picture, longest_side: int, quality: int = 90) -> tuple[bytes, int, int]:
        """A JPEG of at most that many pixels a side, and the size of the picture as displayed. Raises `InvalidInput`."""
        return await self._in_turn(lambda: _small(picture, longest_side, quality, self._limits()))

    async def whole(self, picture: Picture) -> bytes:
        """Encoded bytes of a picture: as they came, or a JPEG of an array. Raises `InvalidInput`."""
        if picture.raw is None:
            return bytes(picture.payload)
        return await self._in_turn(lambda: images.encode_jpeg(_array(picture, self._limits())))

    async def _in_turn(self, make: Callable[[], T]) -> T:
        async with self._turns:
            return await asyncio.to_thread(self._counted, make)

    def _counted(self, make: Callable[[], T]) -> T:
        began = time.thread_time()
        try:
            return make()
        finally:
            with self._counting:
                self.spent += time.thread_time() - began


def _array(picture: Picture, limits: ImageLimits) -> images.Pixels:
    assert picture.raw is not None
    return images.array_from_raw(picture.payload, picture.raw["dtype"], picture.raw["shape"], limits)


def _small(picture: Picture, longest_side: int, quality: int, limits: ImageLimits) -> tuple[bytes, int, int]:
    if picture.raw is not None:
        array = _array(picture, limits)
        height, width = array.shape[:2]
        small = images.prepare_array(array, *_size(width, height, longest_side)).pixels
    else:
        header = images.read_header(picture.payload, limits)
        width, height = header.width, header.height
        small = images.prepare(picture.payload, *_size(width, height, longest_side), "stretch", limits).pixels
    return images.encode_jpeg(small, quality), width, height


def _size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    scale = min(1.0, longest_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def marks(found: ImageMetadata, colours: Mapping[str, str]) -> tuple[Mark, ...]:
    """What was found, the surest first, and what people said of it. `colours` by the names of categories."""
    made = [
        *(
            Mark(each.category_name, each.confidence, (each.x, each.y, each.width, each.height))
            for each in found.box_detections
        ),
        *(Mark(each.category_name, each.confidence, point=(each.x, each.y)) for each in found.point_detections),
        *(Mark(each.category_name, each.confidence, mask=corners(each)) for each in found.segmentation_detections),
        *(Mark(each.category_name, each.confidence) for each in found.classification_detections),
    ]
    made.sort(key=lambda mark: mark.confidence or 0.0, reverse=True)
    said = [Mark(each.category_name, None, (each.x, each.y, each.width, each.height)) for each in found.box_annotations]
    return tuple(_coloured([*made, *said], colours))


def _coloured(plain: Iterable[Mark], colours: Mapping[str, str]) -> Iterable[Mark]:
    for mark in plain:
        colour = colours.get(mark.name)
        yield mark if colour is None else Mark(mark.name, mark.confidence, mark.box, mark.point, mark.mask, colour)


def corners(found: SegmentationDetection) -> tuple[Corner, ...]:
    """A polygon, in whichever of the two ways it is written; none of it where that is neither."""
    if not isinstance(found.shape, str):
        return tuple((point.x, point.y) for point in found.shape.points)
    try:
        numbers = [float(word) for word in found.shape.split(",")]
    except ValueError:
        return ()
    return tuple(zip(numbers[::2], numbers[1::2], strict=False))
