"""What is drawn into a picture, and where."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from appliance.cli.drawing import corners, draw
from models.wire.detections import (
    BoxDetection,
    ClassificationDetection,
    Detections,
    PointDetection,
    SegmentationDetection,
    Shape,
    ShapePoint,
)
from ui.kit.colours import colour_of

RED = {"cup": "#ff0000"}


def grey(width: int = 400, height: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def box(x: int, y: int, width: int, height: int, name: str = "cup") -> BoxDetection:
    return BoxDetection(category_name=name, x=x, y=y, width=width, height=height, confidence=0.9)


def changed(picture: Image.Image) -> NDArray[np.bool_]:
    """(height, width): where the picture is no longer grey."""
    return np.asarray(np.any(np.asarray(picture) != 128, axis=-1))


def is_red(picture: Image.Image, x: int, y: int) -> bool:
    return picture.getpixel((x, y)) == (255, 0, 0)


def test_a_box_is_framed_in_its_categorys_colour_and_stays_empty() -> None:
    picture = draw(grey(), Detections(box_detections=[box(100, 80, 150, 120)]), RED)
    assert is_red(picture, 100, 140)
    assert is_red(picture, 249, 140)
    assert is_red(picture, 175, 80)
    assert is_red(picture, 175, 199)
    assert not changed(picture)[90:190, 110:240].any()


def test_the_label_stands_above_the_box_and_is_read_in_black_or_white() -> None:
    picture = draw(grey(), Detections(box_detections=[box(100, 80, 150, 120)]), {"cup": "#0000ff"})
    above = np.asarray(picture)[60:78, 100:200].reshape(-1, 3)
    assert (above == (0, 0, 255)).all(axis=1).any()
    assert (above > 200).all(axis=1).any()  # white on blue
    yellow = np.asarray(draw(grey(), Detections(box_detections=[box(100, 80, 150, 120)]), {"cup": "#ffff00"}))
    assert (yellow[60:78, 100:200].reshape(-1, 3) < 40).all(axis=1).any()  # black on yellow


@pytest.mark.parametrize(
    "found",
    [
        box(-50, -50, 2000, 2000),  # larger than the picture
        box(500, 500, 10, 10),  # outside of it
        box(0, 0, 0, 0),
        box(399, 299, 1, 1),
        box(0, 0, 400, 300),
    ],
)
def test_boxes_at_and_beyond_the_edge_are_drawn_as_far_as_they_can_be_seen(found: BoxDetection) -> None:
    picture = draw(grey(), Detections(box_detections=[found]), RED)
    assert picture.size == (400, 300)
    assert changed(picture).any()


def test_labels_of_boxes_in_one_place_do_not_cover_each_other() -> None:
    one = draw(grey(), Detections(box_detections=[box(100, 150, 100, 100)]), RED)
    two = draw(grey(), Detections(box_detections=[box(100, 150, 100, 100, name) for name in ("cup", "cap")]), RED)

    def labelled(picture: Image.Image) -> int:
        return int(changed(picture)[:, 104:130].any(axis=1).sum())

    assert labelled(two) >= labelled(one) + 12


def test_a_picture_full_of_labels_is_drawn_to_its_end() -> None:
    crowd = [box(10, 10, 40, 40, f"thing {number}") for number in range(300)]
    assert draw(grey(), Detections(box_detections=crowd), {}).size == (400, 300)


def test_small_boxes_lie_on_top_of_large_ones() -> None:
    large, small = box(50, 50, 300, 200, "table"), box(50, 100, 40, 40)
    picture = draw(grey(), Detections(box_detections=[small, large]), {**RED, "table": "#0000ff"})
    assert is_red(picture, 50, 120)


def test_points_outlines_and_classifications_are_drawn_too() -> None:
    point = PointDetection(category_name="cup", x=200, y=150)
    assert changed(draw(grey(), Detections(point_detections=[point]), RED))[140:160, 185:215].any()
    triangle = SegmentationDetection(category_name="cup", shape="100,200,300,200,200,280")
    assert is_red(draw(grey(), Detections(segmentation_detections=[triangle]), RED), 200, 200)
    whole = ClassificationDetection(category_name="cup")
    assert changed(draw(grey(), Detections(classification_detections=[whole]), RED))[:25, :60].any()


def test_an_outline_comes_in_two_forms() -> None:
    expected = [(1.0, 2.0), (3.5, 4.0), (-5.0, 6.0)]
    assert corners(SegmentationDetection(category_name="cup", shape="1,2,3.5,4,-5,6")) == expected
    points = [ShapePoint(x=x, y=y) for x, y in expected]
    assert corners(SegmentationDetection(category_name="cup", shape=Shape(points=points))) == expected
    assert corners(SegmentationDetection(category_name="cup", shape="")) == []
    empty = SegmentationDetection(category_name="cup", shape="")
    assert not changed(draw(grey(), Detections(segmentation_detections=[empty]), RED)).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (4000, 3000)])
def test_pictures_of_every_size_can_be_drawn_into(size: tuple[int, int]) -> None:
    assert draw(grey(*size), Detections(box_detections=[box(0, 0, *size)]), {}).size == size


def test_a_category_without_a_colour_has_that_of_its_name() -> None:
    picture = draw(grey(), Detections(box_detections=[box(100, 80, 150, 120)]), {})

    red, green, blue = np.asarray(picture)[140, 100]
    assert f"#{red:02x}{green:02x}{blue:02x}" == colour_of("cup")
