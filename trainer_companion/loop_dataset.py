"""What a Loop knows of its pictures, as the COCO document that a recipe reads. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from models.wire.detections import Shape
from models.wire.model_information import Category
from models.wire.project_data import ImageData
from trainer_companion.dataset import POINT_SIZE, VALIDATION_SHARE, share
from trainer_companion.stages import HopelessError

log = logging.getLogger(__name__)

COMPUTE_VALIDATION_SET = "compute_validation_set"

Box = list[float]


@dataclass
class Described:
    """The document, and what stands in it. `unknown`: annotations of categories that are not trained, left out."""

    document: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)
    unknown: int = 0


@dataclass(frozen=True)
class Stored:
    """A picture on the disk: its file's name, and its size as displayed, pixels."""

    file_name: str
    width: int
    height: int


def splits(images: Sequence[ImageData], hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Image id -> `train`, `val` or `test`, as upstream's trainers choose.

    A validation set of the Loop is used as it is. Else, only where the hyperparameter `compute_validation_set` is true,
    about a tenth of the pictures for training is taken, by a hash of their ids, and at least one.
    Raises `HopelessError` where it is no bool, or there are too few pictures.
    """
    wanted = hyperparameters.get(COMPUTE_VALIDATION_SET, False)
    found = {image.id: image.set for image in images}
    if "val" in found.values():
        return found
    if not isinstance(wanted, bool):
        raise HopelessError(f"'{COMPUTE_VALIDATION_SET}' must be true or false, got {wanted!r:.60}")
    if not wanted:
        return found
    train = [id for id, kind in found.items() if kind == "train"]
    if len(train) < 2:
        raise HopelessError(
            f"{len(train)} training image(s) are too few to split off a validation set, add more training images"
        )
    chosen = [id for id in train if share(id) < VALIDATION_SHARE] or [min(train, key=share)]
    return {**found, **dict.fromkeys(chosen, "val")}


def describe(
    images: Sequence[ImageData],
    stored: Mapping[str, Stored],
    categories: Sequence[Category],
    sets: Mapping[str, str],
) -> Described:
    """The document for those images that are stored. Boxes are pixels of the picture as displayed."""
    numbers = {category.id: number for number, category in enumerate(categories, 1)}
    by_name = {category.name: category.id for category in categories}
    sizes = {category.id: category.point_size or POINT_SIZE for category in categories}
    made = Described(
        {"images": [], "annotations": [], "categories": [_category(n + 1, c) for n, c in enumerate(categories)]}
    )
    annotations: list[dict[str, Any]] = made.document["annotations"]
    counts = dict.fromkeys(("train", "val", "test"), 0)
    for number, image in enumerate((image for image in images if image.id in stored), 1):
        there = stored[image.id]
        split = sets.get(image.id, image.set)
        split = split if split in counts else "train"
        counts[split] += 1
        made.document["images"].append(
            {
                "id": number,
                "file_name": there.file_name,
                "width": there.width,
                "height": there.height,
                "split": split,
                "loop_id": image.id,
            }
        )
        for category_id, name, bbox, more in _annotations(image, there, sizes, by_name):
            known = category_id if category_id in numbers else by_name.get(name)
            if known is None:
                made.unknown += 1
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[known],
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                    **more,
                }
            )
    made.counts = counts
    return made


def _category(number: int, category: Category) -> dict[str, Any]:
    made = {"id": number, "name": category.name, "loop_id": category.id, "type": category.type}
    if category.point_size is not None and category.point_size > 0:
        made["point_size"] = category.point_size
    if category.color is not None:
        made["color"] = category.color
    return made


def _annotations(
    image: ImageData, there: Stored, sizes: Mapping[str, int], by_name: Mapping[str, str]
) -> Iterable[tuple[str | None, str, Box, dict[str, Any]]]:
    """Category id, category name, box, and what else COCO has a place for."""
    for box in image.box_annotations:
        yield box.category_id, box.category_name, [float(n) for n in (box.x, box.y, box.width, box.height)], {}
    for point in image.point_annotations:
        size = sizes.get(point.category_id or "") or sizes.get(by_name.get(point.category_name, ""), POINT_SIZE)
        corner = [point.x - size / 2, point.y - size / 2, float(size), float(size)]
        yield point.category_id, point.category_name, corner, {}
    if (whole := image.classification_annotation) is not None:
        yield whole.category_id, whole.category_name, [0.0, 0.0, float(there.width), float(there.height)], {}
    for drawn in (image.model_extra or {}).get("segmentation_annotations") or []:
        try:
            points = Shape.model_validate(drawn["shape"]).points
            category_id, name = drawn.get("category_id"), str(drawn.get("category_name", ""))
        except (ValidationError, KeyError, TypeError, AttributeError) as error:
            log.warning("a polygon of image %s cannot be understood: %s", image.id, str(error)[:200])
            continue
        if len(points) < 3:
            continue
        left, top = min(p.x for p in points), min(p.y for p in points)
        bbox = [left, top, max(p.x for p in points) - left, max(p.y for p in points) - top]
        yield category_id, name, bbox, {"segmentation": [[n for p in points for n in (p.x, p.y)]]}
