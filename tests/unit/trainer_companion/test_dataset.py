"""What is read of a folder in COCO's form, what is left out with a sentence, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput
from tests.support.coco_folders import annotation, change, image, write_annotations, write_blank, write_squares
from trainer_companion import dataset

BOLT = {"id": 1, "name": "bolt"}


def folder_with(tmp_path: Path, boxes: list[list[float]], category: dict[str, Any] | None = None) -> Path:
    """One picture for training of 64 x 48 pixels with these boxes, and one for testing with none."""
    for name in ("a.png", "b.png"):
        write_blank(tmp_path, name, 64, 48)
    images = [
        {**image(1, "a.png"), "height": 48, "split": "train"},
        {**image(2, "b.png"), "height": 48, "split": "test"},
    ]
    annotations = [annotation(index + 1, 1, 1, box) for index, box in enumerate(boxes)]
    return write_annotations(tmp_path, images, [category or BOLT], annotations)


def test_a_folder_becomes_pictures_with_boxes_in_corners(tmp_path: Path) -> None:
    read = dataset.read(folder_with(tmp_path, [[10, 20, 30, 5]]))
    (picture,) = read.of("train")
    assert picture.boxes.tolist() == [[10, 20, 40, 25]]
    assert picture.classes.tolist() == [0]
    assert (picture.width, picture.height) == (64, 48)
    assert [category.name for category in read.categories] == ["bolt"]
    assert read.keys == ("bolt",)
    assert read.remarks == ()


def test_categories_and_pictures_of_a_loop_keep_their_ids(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [[1, 1, 9, 9]], {**BOLT, "loop_id": "c0ffee", "type": "box"})
    change(folder, "images", loop_id="1234")
    read = dataset.read(folder)
    assert read.keys == ("c0ffee",)
    assert {picture.loop_id for picture in read.pictures} == {"1234"}


@pytest.mark.parametrize(
    ("box", "kept", "remark"),
    [
        pytest.param(
            [50, 40, 30, 30], [[50, 40, 64, 48]], "Cut off at the edge of the picture: 1 box.", id="over the edge"
        ),
        pytest.param([-5, -5, 15, 15], [[0, 0, 10, 10]], "Cut off", id="before the edge"),
        pytest.param([70, 10, 5, 5], [], "outside of the picture: 1 box", id="outside"),
        pytest.param([10, 10, 0, 5], [], "empty", id="no width"),
        pytest.param([10, 10, -5, 5], [], "empty", id="negative width"),
        pytest.param([10, 10, 0.4, 5], [], "empty", id="thinner than a pixel"),
        pytest.param([1, 2, 3], [], "empty", id="three numbers"),
        pytest.param([], [], "empty", id="no numbers"),
    ],
)
def test_boxes_outside_or_empty_are_cut_or_left_out_and_counted(
    tmp_path: Path, box: list[float], kept: list[list[float]], remark: str
) -> None:
    read = dataset.read(folder_with(tmp_path, [[1, 1, 9, 9], box]))
    (picture,) = read.of("train")
    assert picture.boxes[1:].tolist() == kept
    assert len(read.remarks) == 1
    assert remark in read.remarks[0]


def test_a_point_is_a_box_of_its_size_around_it(tmp_path: Path) -> None:
    point = {**BOLT, "type": "point", "point_size": 8}
    read = dataset.read(folder_with(tmp_path, [[30, 20, 0, 0], [28, 18, 4, 4], [0, 0, 0, 0]], point))
    (picture,) = read.of("train")
    assert picture.boxes.tolist() == [[26, 16, 34, 24], [26, 16, 34, 24], [0, 0, 4, 4]]
    assert read.categories[0].point_size == 8
    assert read.remarks == ()  # a point near the edge is nobody's mistake


def test_crowds_are_left_out(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [[1, 1, 9, 9], [20, 20, 9, 9]])
    document = json.loads((folder / "annotations.json").read_text())
    document["annotations"][1]["iscrowd"] = 1
    (folder / "annotations.json").write_text(json.dumps(document))
    read = dataset.read(folder)
    assert len(read.of("train")[0].boxes) == 1
    assert "crowd" in read.remarks[0]


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_other_types_are_left_out_with_a_sentence(tmp_path: Path, kind: str) -> None:
    folder = folder_with(tmp_path, [[1, 1, 9, 9]])
    document = json.loads((folder / "annotations.json").read_text())
    document["categories"].append({"id": 2, "name": "rusty", "type": kind})
    document["annotations"].append(annotation(9, 1, 2, [5, 5, 9, 9]))
    (folder / "annotations.json").write_text(json.dumps(document))
    read = dataset.read(folder)
    assert [category.name for category in read.categories] == ["bolt"]
    assert len(read.of("train")[0].boxes) == 1
    assert "left out: rusty" in read.remarks[0]


def test_without_a_split_a_fifth_is_held_out_and_always_the_same(tmp_path: Path) -> None:
    folder = write_squares(tmp_path, 60)
    change(folder, "images", split=None)
    first = dataset.read(folder)
    held_out = {picture.name for picture in first.of("test")}
    assert 4 <= len(held_out) <= 20
    assert len(first.of("train")) == 60 - len(held_out)
    assert {picture.name for picture in dataset.read(folder).of("test")} == held_out


def test_a_folder_with_training_pictures_only_is_divided_and_says_so(tmp_path: Path) -> None:
    folder = write_squares(tmp_path, 20)
    change(folder, "images", split="train")
    read = dataset.read(folder)
    assert read.of("test")
    assert "held out" in read.remarks[0]


def test_a_single_picture_is_judged_by_itself_and_says_so(tmp_path: Path) -> None:
    write_blank(tmp_path, "a.png")
    read = dataset.read(write_annotations(tmp_path, [image(1, "a.png")], [BOLT], [annotation(1, 1, 1, [1, 1, 9, 9])]))
    assert len(read.of("train")) == len(read.of("test")) == 1
    assert "what it has learnt from" in read.remarks[0]


def test_a_validation_set_is_chosen_as_upstreams_trainers_do(tmp_path: Path) -> None:
    folder = write_squares(tmp_path, 80)
    read = dataset.read(folder, compute_validation_set=True)
    validation = {picture.name for picture in read.of("val")}
    expected = {p.name for p in dataset.read(folder).of("train") if dataset.share(p.name) < 0.1}
    assert validation == expected != set()
    assert dataset.share("an id") == 0x5E92A53C / 2**32  # the first 8 hex digits of its SHA-256

    assert len(read.of("test")) == len(dataset.read(folder).of("test"))


def test_missing_files_and_paths_that_lead_outside_are_left_out(tmp_path: Path) -> None:
    inside = tmp_path / "set"
    folder_with(inside, [[1, 1, 9, 9]])
    write_blank(tmp_path, "secret.png")
    document = json.loads((inside / "annotations.json").read_text())
    for identity, name in (
        (7, "gone.png"),
        (8, "../../images/secret.png"),
        (9, str(tmp_path / "images" / "secret.png")),
    ):
        document["images"].append(image(identity, name, split="train"))
    (inside / "annotations.json").write_text(json.dumps(document))
    read = dataset.read(inside)
    assert [picture.name for picture in read.pictures] == ["a.png", "b.png"]
    assert "3 pictures (gone.png" in read.remarks[0]


def test_sizes_that_are_not_said_are_read_from_the_files(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [[1, 1, 9, 9]])
    change(folder, "images", width=None, height=None)
    assert {(picture.width, picture.height) for picture in dataset.read(folder).pictures} == {(64, 48)}


@pytest.mark.parametrize(
    ("images", "categories", "annotations", "sentence"),
    [
        pytest.param([], [BOLT], [], "no pictures", id="no images"),
        pytest.param([image(1, "a.png")], [BOLT], [], "has a box", id="none annotated"),
        pytest.param([image(1, "a.png")], [], [], "no category", id="no category"),
        pytest.param(
            [image(1, "a.png")],
            [{**BOLT, "type": "classification"}],
            [],
            "no category of type box",
            id="nothing with boxes",
        ),
        pytest.param([image(1, "a.png")], [BOLT, {"id": 2, "name": "bolt"}], [], "called 'bolt'", id="a name twice"),
        pytest.param([image(1, "a.png")], [BOLT, {"id": 1, "name": "nut"}], [], "same id", id="a category's id twice"),
        pytest.param([image(1, "a.png"), image(1, "a.png")], [BOLT], [], "the id 1", id="a picture's id twice"),
        pytest.param([{"id": 1}], [BOLT], [], "images.0.file_name", id="a picture without a file"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_words(
    tmp_path: Path,
    images: list[dict[str, Any]],
    categories: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    sentence: str,
) -> None:
    write_blank(tmp_path, "a.png")
    with pytest.raises(InvalidInput, match=sentence):
        dataset.read(write_annotations(tmp_path, images, categories, annotations))


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff\xfe", b'{"images": 3}'])
def test_a_file_that_is_no_coco_is_refused_in_words(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "annotations.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"annotations\.json"):
        dataset.read(tmp_path)


def test_one_category_is_enough(tmp_path: Path) -> None:
    read = dataset.read(write_squares(tmp_path, 8, names=("red",)))
    assert {int(kind) for picture in read.pictures for kind in picture.classes} == {0}
    assert np.isfinite(np.concatenate([picture.boxes for picture in read.pictures])).all()
