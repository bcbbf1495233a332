"""Which pictures a step looks at, and how they become tensors.

Order and augmentation depend on seed, epoch and place in the epoch alone. A training that is resumed in the middle of an
epoch goes on with the next picture, and two processes with eight pictures each see what one with sixteen sees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer_companion.augmentation import Augmentation, augment, mosaic
from trainer_companion.dataset import Picture
from trainer_companion.pixels import PictureStore


@dataclass(frozen=True)
class Batch:
    """`pictures`: uint8 (B, height, width, 3) RGB. `boxes`: float32 (B, M, 4) xyxy in pixels of the input; `classes`:
    int64 (B, M), -1 where a picture has fewer than M boxes; of pictures that are classified as a whole, the first is theirs.
    """

    pictures: Tensor
    boxes: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same in the memory of a device."""
        if device.type == "cpu":
            return self
        parts = (part.pin_memory().to(device, non_blocking=True) for part in (self.pictures, self.boxes, self.classes))
        return Batch(*parts)

    def floats(self) -> Tensor:
        """What a network sees: float32 (B, 3, height, width), 0..1."""
        return floats(self.pictures)


def floats(pixels: Tensor) -> Tensor:
    """uint8 (B, height, width, 3) -> float32 (B, 3, height, width), 0..1, in that order in memory, too.

    With the channels last in memory a CPU would be a fifth faster, but PyTorch 2.13 then crashes (segmentation fault) in the
    backward pass through convolutions of 8 channels.
    """
    return pixels.permute(0, 3, 1, 2).contiguous().float().mul_(1 / 255)


class Batches:
    """The batches of one process of `size`, `rank` being its number.

    `boxes` are those of the pictures at the size of the input.
    """

    def __init__(
        self,
        store: PictureStore,
        pictures: Sequence[Picture],
        width: int,
        height: int,
        *,
        seed: int,
        augmentation: Augmentation,
        mosaic_share: float = 0.0,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self._store = store
        self._width, self._height = width, height
        self._seed = seed
        self._augmentation = augmentation
        self._mosaic_share = mosaic_share
        self._rank, self._size = rank, size
        self._boxes = [boxes_at(picture, width, height) for picture in pictures]
        self._classes = [picture.classes for picture in pictures]
        self._usable = np.array([index for index in range(len(pictures)) if index not in store.bad], np.int64)

    @property
    def pictures(self) -> int:
        """How many there are to be looked at in an epoch."""
        return len(self._usable)

    def steps(self, batch_size: int) -> int:
        """Steps of an epoch, with `batch_size` pictures a step and process."""
        return max(1, round(self.pictures / (batch_size * self._size)))

    def epoch(
        self, number: int, batch_size: int, first: int = 0, *, threads: int = 0, plain: bool = False
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch from step `first` on. `threads` prepare some ahead; 0: none. `plain`: no mosaics."""
        order = self._order(number, self.steps(batch_size) * batch_size * self._size)
        places = [self._places(step, batch_size) for step in range(first, self.steps(batch_size))]

        def make(of_step: range) -> Batch:
            return self._batch([(int(order[place]), place) for place in of_step], number, plain=plain)

        if not threads:
            yield from map(make, places)
            return
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[Future[Batch]] = deque()
            for of_step in places:
                ahead.append(pool.submit(make, of_step))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _order(self, epoch: int, length: int) -> NDArray[np.int64]:
        """Which picture is at which place of the epoch; few pictures come round again until a batch is full."""
        rng = np.random.default_rng((self._seed, epoch))
        rounds = [rng.permutation(self._usable) for _ in range(-(-length // len(self._usable)))]
        return np.concatenate(rounds)[:length]

    def _places(self, step: int, batch_size: int) -> range:
        """Places in the epoch that are this process's part of a step."""
        start = step * batch_size * self._size
        return range(start + self._rank, start + batch_size * self._size, self._size)

    def _batch(self, indices: Sequence[tuple[int, int]], epoch: int, *, plain: bool) -> Batch:
        pixels = np.empty((len(indices), self._height, self._width, 3), np.uint8)
        boxes, classes = [], []
        for row, (index, place) in enumerate(indices):
            rng = np.random.default_rng((self._seed, epoch, place))
            if not plain and self._mosaic_share and rng.random() < self._mosaic_share:
                others = [index, *rng.choice(self._usable, 3)]
                parts = [(self._store[int(each)], self._boxes[int(each)], self._classes[int(each)]) for each in others]
                found = mosaic(parts, self._augmentation, rng, pixels[row])
            else:
                found = augment(
                    self._store[index], self._boxes[index], self._classes[index], self._augmentation, rng, pixels[row]
                )
            boxes.append(found[0])
            classes.append(found[1])
        return Batch(torch.from_numpy(pixels), *padded(boxes, classes))


def boxes_at(picture: Picture, width: int, height: int) -> NDArray[np.float32]:
    """The boxes of a picture (N, 4), in pixels of an input to which it is stretched."""
    scale = np.array([width / picture.width, height / picture.height] * 2, np.float32)
    return picture.boxes * scale


def padded(boxes: Sequence[NDArray[np.float32]], classes: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Boxes (B, M, 4) and classes (B, M) of pictures with different numbers of them; filled up with class -1."""
    most = max(1, *(len(each) for each in classes)) if classes else 1
    all_boxes = torch.zeros(len(boxes), most, 4)
    all_classes = torch.full((len(boxes), most), -1, dtype=torch.int64)
    for row, (of_picture, kinds) in enumerate(zip(boxes, classes, strict=True)):
        all_boxes[row, : len(of_picture)] = torch.from_numpy(of_picture)
        all_classes[row, : len(kinds)] = torch.from_numpy(kinds)
    return all_boxes, all_classes
