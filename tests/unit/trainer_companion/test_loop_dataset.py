"""What people drew in the Loop, as the dataset that a recipe reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.wire.model_information import Category
from models.wire.project_data import ImageData
from tests.service.loop_server.pictures import jpeg
from trainer_companion import dataset
from trainer_companion.loop_dataset import Stored, describe, splits
from trainer_companion.stages import HopelessError

CATEGORIES = [
    Category(id="c-box", name="bolt", type="box", color="#112233"),
    Category(id="c-point", name="hole", type="point", point_size=12),
    Category(id="c-point-2", name="dent", type="point"),
    Category(id="c-class", name="rusty", type="classification"),
    Category(id="c-seg", name="stain", type="segmentation"),
]


def image(id: str, kind: str = "train", **drawn: Any) -> ImageData:
    return ImageData.model_validate({"id": id, "set": kind, **drawn})


def stored(*ids: str) -> dict[str, Stored]:
    return {id: Stored(f"{id}.jpg", 100, 80) for id in ids}


def boxes_of(*images: ImageData) -> list[tuple[int, list[float]]]:
    made = describe(images, stored(*(each.id for each in images)), CATEGORIES, {})
    return [(each["category_id"], each["bbox"]) for each in made.document["annotations"]]


def test_boxes_points_classes_and_polygons_each_have_their_box() -> None:
    found = boxes_of(
        image(
            "a",
            box_annotations=[
                {"category_id": "c-box", "category_name": "bolt", "x": 1, "y": 2, "width": 3, "height": 4}
            ],
            point_annotations=[
                {"category_id": "c-point", "category_name": "hole", "x": 50.5, "y": 40},
                {"category_id": "c-point-2", "category_name": "dent", "x": 50, "y": 40},
            ],
            classification_annotation={"category_id": "c-class", "category_name": "rusty"},
            segmentation_annotations=[
                {
                    "category_id": "c-seg",
                    "category_name": "stain",
                    "shape": {"points": [{"x": 10, "y": 10}, {"x": 20, "y": 12}, {"x": 15, "y": 30}]},
                },
                {"category_id": "c-seg", "category_name": "stain", "shape": "10,10,20,20"},
                {"category_id": "c-seg", "category_name": "stain", "shape": {"points": [{"x": 1, "y": 2}]}},
                7,
            ],
        )
    )
    assert found == [
        (1, [1.0, 2.0, 3.0, 4.0]),
        (2, [44.5, 34.0, 12.0, 12.0]),
        (3, [40.0, 30.0, 20.0, 20.0]),
        (4, [0.0, 0.0, 100.0, 80.0]),
        (5, [10.0, 10.0, 10.0, 20.0]),
    ]


def test_categories_are_known_by_id_else_by_name_else_left_out_and_counted() -> None:
    def box(id: str | None, name: str) -> dict[str, Any]:
        return {"category_id": id, "category_name": name, "x": 1, "y": 2, "width": 3, "height": 4}

    drawn = image(
        "a", box_annotations=[box("c-box", "renamed"), box(None, "bolt"), box("removed", "gone"), box("", "")]
    )
    made = describe([drawn], stored("a"), CATEGORIES, {})
    assert [each["category_id"] for each in made.document["annotations"]] == [1, 1]
    assert made.unknown == 2


def test_only_pictures_that_are_there_are_described_and_counted() -> None:
    images = [image("a"), image("b", "test"), image("c", "val"), image("gone"), image("odd", "whatever")]
    made = describe(images, stored("a", "b", "c", "odd"), CATEGORIES, {})
    assert [(each["loop_id"], each["split"]) for each in made.document["images"]] == [
        ("a", "train"),
        ("b", "test"),
        ("c", "val"),
        ("odd", "train"),
    ]
    assert made.counts == {"train": 2, "val": 1, "test": 1}


def test_the_recipes_read_what_is_written(tmp_path: Path) -> None:
    box = {"category_id": "c-box", "category_name": "bolt", "x": 1, "y": 2, "width": 3, "height": 4}
    point = {"category_id": "c-point", "category_name": "hole", "x": 20, "y": 10}
    images = [image("a", box_annotations=[box], point_annotations=[point]), image("b", "test")]
    there = {id: Stored(f"{id}.jpg", 32, 24) for id in ("a", "b")}
    (tmp_path / "images").mkdir()
    for number, id in enumerate(there):
        (tmp_path / "images" / f"{id}.jpg").write_bytes(jpeg(number))
    document = describe(images, there, CATEGORIES, {}).document
    (tmp_path / dataset.ANNOTATIONS).write_text(json.dumps(document))
    found = dataset.read(tmp_path)
    assert found.keys == ("c-box", "c-point", "c-point-2")
    [train] = found.of("train")
    assert train.loop_id == "a"
    assert train.boxes.tolist() == [[1, 2, 4, 6], [14, 4, 26, 16]]
    assert [picture.loop_id for picture in found.of("test")] == ["b"]


IDS = [f"image-{n}" for n in range(200)]


def test_a_validation_set_is_taken_only_where_it_is_wished() -> None:
    images = [image(id, "test" if n % 5 == 0 else "train") for n, id in enumerate(IDS)]
    assert "val" not in splits(images, {}).values()
    assert "val" not in splits(images, {"compute_validation_set": False}).values()
    chosen = splits(images, {"compute_validation_set": True})
    taken = {id for id, kind in chosen.items() if kind == "val"}
    assert taken == {id for n, id in enumerate(IDS) if n % 5 and dataset.share(id) < 0.1}
    assert 8 <= len(taken) <= 32
    more = [*images, *(image(f"new-{n}") for n in range(50))]
    assert {id for id, kind in splits(more, {"compute_validation_set": True}).items() if kind == "val"} >= taken


def test_at_least_one_is_taken() -> None:
    few = [id for id in IDS if dataset.share(id) >= 0.1][:3]
    chosen = splits([image(id) for id in few], {"compute_validation_set": True})
    assert [id for id, kind in chosen.items() if kind == "val"] == [min(few, key=dataset.share)]


def test_the_validation_set_of_the_loop_is_used_as_it_is() -> None:
    images = [image(id) for id in IDS] + [image("v", "val")]
    assert [id for id, kind in splits(images, {"compute_validation_set": True}).items() if kind == "val"] == ["v"]
    assert splits(images, {"compute_validation_set": "of the loop, so nobody reads this"})["v"] == "val"


@pytest.mark.parametrize("wish", ["true", 1, None, []])
def test_what_is_neither_true_nor_false_ends_the_training(wish: Any) -> None:
    with pytest.raises(HopelessError, match="'compute_validation_set' must be true or false, got"):
        splits([image(id) for id in IDS], {"compute_validation_set": wish})


@pytest.mark.parametrize("kinds", [[], ["train"], ["train", "test", "test"]])
def test_too_few_pictures_to_take_some_out_end_it_too(kinds: list[str]) -> None:
    with pytest.raises(HopelessError, match="too few"):
        splits([image(f"i{n}", kind) for n, kind in enumerate(kinds)], {"compute_validation_set": True})
