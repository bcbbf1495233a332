"""Which pictures a step sees: the same however the training is divided or interrupted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.coco_folders import write_squares
from trainer_companion import dataset
from trainer_companion.augmentation import Augmentation
from trainer_companion.batches import Batch, Batches, padded
from trainer_companion.pixels import PictureStore, open_store
from trainer_companion.team import Team


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[dataset.Picture, ...]:
    return dataset.read(write_squares(tmp_path_factory.mktemp("squares") / "set", 16)).of("train")


@pytest.fixture(scope="module")
def store(pictures: tuple[dataset.Picture, ...], tmp_path_factory: pytest.TempPathFactory) -> PictureStore:
    return open_store(pictures, 64, 64, tmp_path_factory.mktemp("store") / "pixels", Team())


def batches(
    store: PictureStore, pictures: tuple[dataset.Picture, ...], rank: int = 0, size: int = 1, mosaic: float = 0.0
) -> Batches:
    return Batches(
        store, pictures, 64, 64, seed=3, augmentation=Augmentation(), mosaic_share=mosaic, rank=rank, size=size
    )


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.pictures, b.pictures) and torch.equal(a.boxes, b.boxes) and torch.equal(a.classes, b.classes)


def test_an_epoch_shows_every_picture_once(store: PictureStore, pictures: tuple[dataset.Picture, ...]) -> None:
    still = Batches(
        store, pictures, 64, 64, seed=3, augmentation=Augmentation(flip_horizontal=False, zoom=0.0, colour=0.0)
    )
    seen = [picture.numpy().tobytes() for batch in still.epoch(0, 4) for picture in batch.pictures]
    assert sorted(seen) == sorted(store[index].tobytes() for index in range(len(pictures)))


def test_epochs_differ_and_repeat(store: PictureStore, pictures: tuple[dataset.Picture, ...]) -> None:
    of = batches(store, pictures)
    first, again, other = list(of.epoch(0, 4)), list(of.epoch(0, 4)), list(of.epoch(1, 4))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("mosaic", [0.0, 0.7])
def test_an_interrupted_epoch_goes_on_with_the_next_step(
    store: PictureStore, pictures: tuple[dataset.Picture, ...], mosaic: float
) -> None:
    of = batches(store, pictures, mosaic=mosaic)
    whole, rest = list(of.epoch(5, 4)), list(of.epoch(5, 4, first=2))
    assert len(rest) == len(whole) - 2
    assert all(same(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_two_processes_see_what_one_with_doubled_batch_sees(
    store: PictureStore, pictures: tuple[dataset.Picture, ...]
) -> None:
    one = next(batches(store, pictures).epoch(2, 8))
    halves = [next(batches(store, pictures, rank, 2).epoch(2, 4)) for rank in (0, 1)]
    together = torch.stack([half.pictures for half in halves], 1).flatten(0, 1)
    assert torch.equal(together, one.pictures)


def test_threads_change_neither_order_nor_pictures(store: PictureStore, pictures: tuple[dataset.Picture, ...]) -> None:
    of = batches(store, pictures)
    assert all(same(a, b) for a, b in zip(of.epoch(1, 2), of.epoch(1, 2, threads=3), strict=True))


def test_few_pictures_come_round_until_a_batch_is_full(
    store: PictureStore, pictures: tuple[dataset.Picture, ...]
) -> None:
    of = batches(store, pictures)
    (batch,) = of.epoch(0, 32)
    assert len(batch.pictures) == 32


def test_pictures_that_cannot_be_decoded_are_never_shown(pictures: tuple[dataset.Picture, ...], tmp_path: Path) -> None:
    store = open_store(pictures, 64, 64, tmp_path / "pixels", Team())
    store.bad = frozenset(range(1, len(pictures)))
    of = Batches(
        store, pictures, 64, 64, seed=0, augmentation=Augmentation(zoom=0.0, colour=0.0, flip_horizontal=False)
    )
    assert of.pictures == 1
    (batch,) = of.epoch(0, 2)
    assert all(np.array_equal(picture.numpy(), store[0]) for picture in batch.pictures)


def test_what_the_network_sees_is_what_the_device_shows_it() -> None:
    batch = Batch(torch.full((1, 4, 6, 3), 255, dtype=torch.uint8), *padded([], []))
    seen = batch.floats()
    assert seen.shape == (1, 3, 4, 6)
    assert seen.is_contiguous()
    assert seen.max() == seen.min() == pytest.approx(1.0)


def test_boxes_of_several_pictures_are_filled_up() -> None:
    boxes = [np.ones((2, 4), np.float32), np.empty((0, 4), np.float32)]
    all_boxes, classes = padded(boxes, [np.array([1, 0]), np.empty(0, np.int64)])
    assert all_boxes.shape == (2, 2, 4)
    assert classes.tolist() == [[1, 0], [-1, -1]]
