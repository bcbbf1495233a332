"""Pictures with what the best model finds in them, as people are shown them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.image_headers import DEFAULT_LIMITS, read_header
from tests.support.coco_folders import write_classified, write_squares
from tests.unit.trainer_companion.test_evaluation import Painted
from trainer_companion import dataset, samples
from trainer_companion.evaluation import Evaluation, Found, evaluate
from trainer_companion.pixels import open_store
from trainer_companion.progress import Confusion
from trainer_companion.samples import Sample
from trainer_companion.team import Team


def test_what_an_evaluation_found_is_told_in_pixels_of_the_picture(tmp_path: Path) -> None:
    folder = write_squares(tmp_path / "set", 24)
    found = dataset.read(folder)
    held_out = found.held_out
    store = open_store(held_out, 64, 64, tmp_path / "pixels", Team())
    measured = replace(evaluate(Painted(), store, held_out, Team(), torch.device("cpu")), conf_threshold=0.3)

    samples.write(tmp_path, found, measured, 9, 64, 64)
    read = samples.read(tmp_path)

    assert read is not None
    assert read.epoch == 9
    assert [sample.file for sample in read.pictures] == [held_out[index].name for index in samples.chosen(held_out)]
    assert any(sample.found for sample in read.pictures)
    for sample in read.pictures:
        picture = next(each for each in held_out if each.name == sample.file)
        assert (sample.width, sample.height, sample.things) == (picture.width, picture.height, len(picture.boxes))
        names = [category.name for category in found.categories]
        for each in sample.found:
            assert each.confidence >= 0.3
            assert each.box is not None
            left, top, width, height = each.box
            centre = np.array([left + width / 2, top + height / 2])
            inside = [
                (box[:2] <= centre).all() and (centre <= box[2:]).all()
                for box, kind in zip(picture.boxes, picture.classes, strict=True)
                if names[kind] == each.category
            ]
            assert any(inside), f"{each} lies on nothing of that kind in {sample.file}"


def test_always_the_same_few_that_hold_something(tmp_path: Path) -> None:
    pictures = dataset.read(write_squares(tmp_path / "set", 40)).pictures
    first = samples.chosen(pictures)
    assert len(first) == samples.MOST
    backwards = [pictures[len(pictures) - 1 - index] for index in range(len(pictures))]
    assert {backwards[index].name for index in samples.chosen(backwards)} == {pictures[index].name for index in first}
    empty = [replace(picture, boxes=picture.boxes[:0], classes=picture.classes[:0]) for picture in pictures[1:]]
    assert samples.chosen([*empty, pictures[0]])[0] == len(empty)


def test_the_picture_itself_is_sent_small(tmp_path: Path) -> None:
    import cv2

    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "large.jpg"), np.full((900, 1600, 3), 90, np.uint8))
    (tmp_path / "secret.jpg").write_bytes((images / "large.jpg").read_bytes())
    (images / "broken.jpg").write_bytes(b"no picture")

    def small(name: str) -> bytes | None:
        return samples.small(images, Sample(file=name, width=1600, height=900, things=0))

    data = small("large.jpg")
    assert data is not None
    header = read_header(data, DEFAULT_LIMITS)
    assert (header.width, header.height) == (640, 360)
    assert small("../secret.jpg") is None
    assert small("/etc/hostname") is None
    assert small("broken.jpg") is None
    assert small("gone.jpg") is None
    assert small("bad\0name.jpg") is None


def test_what_is_not_there_or_is_nonsense_is_nothing(tmp_path: Path) -> None:
    assert samples.read(tmp_path) is None
    (tmp_path / samples.FILE).write_text("{")
    assert samples.read(tmp_path) is None


def test_boxes_are_stretched_back_to_the_picture(tmp_path: Path) -> None:
    found = dataset.read(write_squares(tmp_path / "set", 24))
    held_out = found.held_out
    first = held_out[0]
    seen = Found(np.array([[8, 16, 24, 20]], np.float32), np.array([1]), np.array([0.75], np.float32))
    measured = Evaluation(0.9, 0.6, 0.5, 0.8, (Confusion(), Confusion()), {0: seen})

    [sample] = samples.of(found, measured, 3, first.width * 2, first.height // 2).pictures

    assert [each.box for each in sample.found] == [(4.0, 32.0, 8.0, 8.0)]
    assert sample.found[0].category == found.categories[1].name


def test_of_a_classified_picture_its_class_is_told_and_what_people_said(tmp_path: Path) -> None:
    found = dataset.read(write_classified(tmp_path / "set", 24), learns="pictures")
    first = found.held_out[0]
    seen = Found(None, np.array([2, 0]), np.array([0.75, 0.2], np.float32))
    nothing = (Confusion(),) * 3
    measured = Evaluation(0.0, 0.0, 0.5, 0.8, nothing, {0: seen}, accuracy=0.9)

    [sample] = samples.of(found, measured, 3, 64, 64).pictures

    assert [(each.category, each.box) for each in sample.found] == [("green", None)]
    assert (sample.things, sample.said) == (1, found.categories[int(first.classes[0])].name)
    assert Sample.model_validate_json(sample.model_dump_json()) == sample
    assert len(samples.chosen(found.held_out)) == samples.MOST
