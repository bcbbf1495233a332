"""What is really in pictures, where a COCO document says so, and the mAP50 of detections against it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInput

DOCUMENT = "annotations.json"

WHOLE = [0.0, 0.0, 1.0, 1.0]
"""Stands for the box of what is said of a whole picture. Nobody asks where that is."""


@dataclass(frozen=True)
class Boxes:
    """In one picture: xyxy (N, 4) float32, pixels of the picture as displayed; names of categories (N); scores (N,)."""

    corners: NDArray[np.float32]
    names: Sequence[str]
    scores: NDArray[np.float32]


Truth = Mapping[str, Boxes]
"""Name of a picture's file -> what people drew in it; their scores are 1."""


def known(truth: Truth, categories: Iterable[str]) -> dict[str, Boxes]:
    """The same without what is of other categories: a model cannot see what it never learnt. Pure.

    Empty where nothing is left: that is another set, and says nothing of the model.
    """
    names = set(categories)
    found = {}
    for picture, boxes in truth.items():
        kept = np.array([name in names for name in boxes.names], dtype=bool)
        found[picture] = Boxes(boxes.corners[kept], [name for name in boxes.names if name in names], boxes.scores[kept])
    return found if any(boxes.names for boxes in found.values()) else {}


def read(folder: Path) -> dict[str, Boxes]:
    """The annotations of a COCO folder; empty where it has none. Blocks. Raises `InvalidInput` for what is no COCO.

    What people say of a whole picture (a category of type `classification`) needs no box.
    """
    path = folder / DOCUMENT
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_bytes())
        names = {each["id"]: str(each["name"]) for each in document["categories"]}
        whole = {each["id"] for each in document["categories"] if each.get("type") == "classification"}
        files = {each["id"]: PurePosixPath(each["file_name"]).name for each in document["images"]}
        drawn: dict[str, list[tuple[str, list[float]]]] = {name: [] for name in files.values()}
        for each in document["annotations"]:
            if each["category_id"] in whole:
                drawn[files[each["image_id"]]].append((names[each["category_id"]], WHOLE))
                continue
            x, y, width, height = (float(value) for value in each["bbox"])
            if width > 0 and height > 0:
                drawn[files[each["image_id"]]].append((names[each["category_id"]], [x, y, x + width, y + height]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is no COCO document: {type(error).__name__} {error}") from error
    return {
        name: Boxes(
            np.array([corners for _, corners in found], np.float32).reshape(-1, 4),
            [category for category, _ in found],
            np.ones(len(found), np.float32),
        )
        for name, found in drawn.items()
    }


def map50(truth: Truth, seen: Mapping[str, Boxes]) -> float:
    """COCO's mean average precision at an IoU of 0.5 over the pictures in `seen`, 0..1; NaN where nothing is annotated."""
    from faster_coco_eval import COCO, COCOeval_faster

    pictures = {name: number for number, name in enumerate(seen, 1)}
    categories = {name: number for number, name in enumerate(sorted(_names(truth, seen)), 1)}
    annotations = list(_entries(truth, pictures, categories))
    if not annotations:
        return float("nan")
    document = {
        "images": [{"id": number, "file_name": name} for name, number in pictures.items()],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    detections = list(_entries(seen, pictures, categories))
    if not detections:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        people = COCO(document)
        evaluation = COCOeval_faster(people, people.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


def _names(*all_boxes: Mapping[str, Boxes]) -> set[str]:
    return {name for boxes in all_boxes for each in boxes.values() for name in each.names}


def _entries(boxes: Mapping[str, Boxes], pictures: Mapping[str, int], categories: Mapping[str, int]) -> Any:
    number = 0
    for name, picture in pictures.items():
        each = boxes.get(name)
        if each is None:
            continue
        for corners, category, score in zip(each.corners.tolist(), each.names, each.scores.tolist(), strict=True):
            number += 1
            x1, y1, x2, y2 = corners
            yield {
                "id": number,
                "image_id": picture,
                "category_id": categories[category],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "score": score,
            }
