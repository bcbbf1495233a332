"""COCO in and out: what the loop can have of it, and what it says of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.loop_server.coco import (
    Coco,
    NotCocoError,
    Writer,
    check_size,
    clipped,
    kinds_of,
    new_categories,
    parse,
    read,
)
from models.errors import InvalidInput
from models.images import ImageHeader
from models.wire.model_information import Category

HEADER = ImageHeader(width=100, height=80, format="jpeg")


def document(**given: Any) -> bytes:
    """A document as cocodataset.org describes it."""
    return json.dumps(
        {
            "info": {"year": 2017},
            "images": [{"id": 397133, "file_name": "000000397133.jpg", "width": 100, "height": 80, "license": 4}],
            "categories": [{"supercategory": "kitchen", "id": 44, "name": "bottle"}],
            "annotations": [
                {
                    "segmentation": [[10.5, 20.0, 30.0, 20.0, 30.0, 40.5]],
                    "area": 702.1,
                    "iscrowd": 0,
                    "image_id": 397133,
                    "bbox": [10.5, 20.0, 19.5, 20.5],
                    "category_id": 44,
                    "id": 82445,
                }
            ],
            **given,
        }
    ).encode()


def annotated(*annotations: dict[str, Any], type: str = "box") -> Any:
    """What becomes of these annotations of a 100 x 80 image."""
    full = [{"image_id": 397133, "category_id": 44, **each} for each in annotations]
    found = parse(document(annotations=full), "x.json")
    [reading] = read(found, {"bottle": type}, {397133: HEADER})  # type: ignore[dict-item]
    return reading


def test_a_document_of_others_is_read_as_boxes_or_as_polygons() -> None:
    found = parse(document(), "instances.json")
    [as_boxes] = read(found, kinds_of(found, {}, "box"), {397133: HEADER})
    [box] = as_boxes.annotations.box_annotations
    assert (box.category_name, box.x, box.y, box.width, box.height) == ("bottle", 10, 20, 20, 20)
    assert (as_boxes.state, as_boxes.name) == ("complete", "000000397133")
    [as_polygons] = read(found, kinds_of(found, {}, "segmentation"), {397133: HEADER})
    [polygon] = as_polygons.annotations.segmentation_annotations
    assert [(point.x, point.y) for point in polygon.shape.points] == [(10.5, 20.0), (30.0, 20.0), (30.0, 40.5)]
    assert as_polygons.annotations.box_annotations == []


def test_what_a_category_is_says_the_project_then_the_document_then_the_person() -> None:
    categories = [
        {"id": number, "name": name, "type": type}
        for number, (name, type) in enumerate([("theirs", "point"), ("both", "point"), ("nobodys", None)])
    ]
    found = parse(document(categories=categories, annotations=[]), "x.json")
    there = {"both": "segmentation"}
    assert kinds_of(found, there, "box") == {  # type: ignore[arg-type]
        "theirs": "point",
        "both": "segmentation",
        "nobodys": "box",
    }
    made = new_categories(found, there, "box")  # type: ignore[arg-type]
    assert [(each.name, each.type) for each in made] == [("theirs", "point"), ("nobodys", "box")]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((-5, -5, 20, 20), (0, 0, 15, 15)),
        ((90, 70, 50, 50), (90, 70, 10, 10)),
        ((0, 0, 100, 80), (0, 0, 100, 80)),
        ((10.4, 20.6, 0.3, 0.2), (10, 21, 1, 1)),
        ((100, 10, 5, 5), None),
        ((-10, 10, 10, 5), None),
        ((10, 10, 0, 5), None),
        ((10, 10, -5, 5), None),
        ((1e308, 0, 1e308, 5), None),
    ],
)
def test_boxes_are_clipped_to_the_image(box: tuple[float, ...], expected: tuple[int, ...] | None) -> None:
    assert clipped(box, 100, 80) == expected


@pytest.mark.parametrize(
    ("annotation", "kind", "reason"),
    [
        ({"bbox": [200, 0, 5, 5]}, "box", "no box within the image"),
        ({}, "box", "no box within the image"),
        ({"segmentation": {"counts": [1], "size": [1, 1]}, "iscrowd": 1}, "segmentation", "no polygon"),
        ({"segmentation": [[1, 2, 3, 4]]}, "segmentation", "no polygon"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "segmentation", "no polygon"),
        ({"keypoints": [1, 2, 0]}, "point", "no visible keypoint"),
    ],
)
def test_what_the_loop_cannot_have_is_counted(annotation: dict[str, Any], kind: str, reason: str) -> None:
    reading = annotated(annotation, type=kind)
    assert len(reading.annotations) == 0
    assert dict(reading.left_out) == {reason: 1}
    assert reading.state == "inbox"


def test_an_object_in_parts_becomes_a_polygon_each_and_keypoints_a_point_each() -> None:
    parts = [[0, 0, 9, 0, 9, 9], [20, 20, 29, 20, 29, 29]]
    assert len(annotated({"segmentation": parts}, type="segmentation").annotations.segmentation_annotations) == 2
    points = annotated({"keypoints": [1, 2, 2, 0, 0, 0, 3.5, 4.5, 1]}, type="point").annotations.point_annotations
    assert [(each.x, each.y) for each in points] == [(1, 2), (3.5, 4.5)]


def test_an_image_has_one_classification() -> None:
    reading = annotated({}, {}, type="classification")
    assert reading.annotations.classification_annotation.category_name == "bottle"
    assert sum(reading.left_out.values()) == 1


@pytest.mark.parametrize(
    ("data", "words", "is_other"),
    [
        (b"[]", "no COCO document", True),
        (b"{}", "images: Field required", True),
        (b'"x"', "no COCO document", True),
        (b"{", "no COCO document", False),
        (document(images=[{"id": 1}]), "images.0.file_name: Field required", False),
        (document(images=[{"id": 1, "file_name": "a"}] * 2), "two images have the same id", False),
        (document(categories=[]), "an annotation is of image 397133 and category 44", False),
        (document(annotations=[{"image_id": 1, "category_id": 44}]), "the document does not have both", False),
        (document(annotations=[{"image_id": 397133, "category_id": 44, "bbox": [1, 2, 3]}]), "bbox", False),
        (
            document().replace(b"10.5, 20.0, 19.5", b"NaN, 20.0, 19.5"),
            "annotations.0.bbox.0: Input should be a finite number",
            False,
        ),
    ],
)
def test_what_is_no_document_is_refused_in_words(data: bytes, words: str, is_other: bool) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(data, "x.json")
    assert words in str(refused.value)
    assert isinstance(refused.value, NotCocoError) is is_other


def test_a_document_for_a_picture_that_stands_on_its_side_is_refused() -> None:
    image = Coco.model_validate_json(document()).images[0]
    check_size(image, HEADER)
    with pytest.raises(InvalidInput, match="has 80 x 100 pixels as displayed"):
        check_size(image, ImageHeader(width=80, height=100, format="jpeg", orientation=6))
    check_size(image.model_copy(update={"width": None}), ImageHeader(width=1, height=1, format="jpeg"))


def test_a_category_without_a_name_cannot_be_made() -> None:
    found = parse(document(categories=[{"id": 44, "name": " "}], annotations=[]), "x.json")
    with pytest.raises(InvalidInput, match="cannot be made"):
        new_categories(found, {}, "box")


# Out


def image(**given: Any) -> dict[str, Any]:
    return {
        "id": "the id",
        "name": "image_1",
        "format": "jpeg",
        "width": 100,
        "height": 80,
        "created": "2024-01-01",
        "state": "complete",
        "set": "train",
        "tags": ["a"],
        "source": None,
        "box_annotations": [],
        "point_annotations": [],
        "segmentation_annotations": [],
        "classification_annotation": None,
        **given,
    }


def test_a_document_says_what_other_programs_ask_for() -> None:
    categories = [
        Category(id="b", name="bolt"),
        Category(id="p", name="tip", type="point"),
        Category(id="s", name="area", type="segmentation"),
        Category(id="c", name="good", type="classification"),
    ]
    writer = Writer(categories)
    square = {"points": [{"x": x, "y": y} for x, y in [(10, 10), (30, 10), (30, 20), (10, 20)]]}
    writer.add(
        image(
            box_annotations=[{"category_id": "b", "x": 1, "y": 2, "width": 3, "height": 4}],
            point_annotations=[{"category_id": "p", "x": 5.5, "y": 6.5}],
            segmentation_annotations=[{"category_id": "s", "shape": square}],
            classification_annotation={"category_id": "c"},
        )
    )
    made = writer.document("acme/bolts")
    assert [(each["id"], each["name"]) for each in made["categories"]] == [
        (1, "bolt"), (2, "tip"), (3, "area"), (4, "good")
    ]  # fmt: skip
    assert made["categories"][1]["keypoints"] == ["tip"]
    box, point, polygon, whole = made["annotations"]
    assert [each["id"] for each in made["annotations"]] == [1, 2, 3, 4]
    assert {each["image_id"] for each in made["annotations"]} == {1}
    assert (box["bbox"], box["area"], box["iscrowd"], box["category_id"]) == ([1, 2, 3, 4], 12, 0, 1)
    assert (point["keypoints"], point["num_keypoints"]) == ([5.5, 6.5, 2], 1)
    assert (polygon["bbox"], polygon["area"]) == ([10, 10, 20, 10], 200)
    assert polygon["segmentation"] == [[10, 10, 30, 10, 30, 20, 10, 20]]
    assert whole["bbox"] == [0, 0, 100, 80]
    assert all("area" in each and len(each["bbox"]) == 4 for each in made["annotations"])
    assert made["images"][0]["file_name"] == "image_1.jpg"


def test_annotations_of_no_category_are_left_out_and_counted() -> None:
    writer = Writer([])
    writer.add(image(box_annotations=[{"category_id": None, "x": 1, "y": 2, "width": 3, "height": 4}]))
    made = writer.document("x")
    assert (made["annotations"], made["info"]["left_out"]) == ([], 1)


def test_files_have_names_that_every_system_knows_and_no_two_alike() -> None:
    writer = Writer([])
    names = ["image", "IMAGE", "image_2", "2024-01-01_12:34:56.1", "../../etc/passwd", "", "..", "ü"]
    made = [writer.add(image(name=name)) for name in names]
    assert made == [
        "image.jpg", "IMAGE_2.jpg", "image_2_2.jpg", "2024-01-01_12_34_56.1.jpg", "_.._etc_passwd.jpg", "image_3.jpg",
        "image_4.jpg", "_.jpg",
    ]  # fmt: skip
    assert writer.add(image(format="png")) == "image_1.png"
