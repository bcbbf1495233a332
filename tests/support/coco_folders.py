"""Small datasets on disk: coloured squares on grey, which a network learns within seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (40, 200, 40)}


def write_squares(
    folder: Path, count: int = 24, *, size: int = 64, names: Sequence[str] = ("red", "blue"), seed: int = 0
) -> Path:
    """`count` pictures of `size` pixels with one or two squares each; every fourth is of split `test`."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        picture = np.full((size, size, 3), 120, np.uint8) + rng.integers(0, 20, (size, size, 3), np.uint8)
        for place in range(int(rng.integers(1, 3))):
            name = names[int(rng.integers(len(names)))]
            side = int(rng.integers(size // 5, size // 3))
            x = int(rng.integers(0, size // 2 - side)) + place * size // 2
            y = int(rng.integers(0, size - side))
            picture[y : y + side, x : x + side] = COLOURS[name]
            annotations.append(
                annotation(len(annotations) + 1, number + 1, 1 + list(names).index(name), [x, y, side, side])
            )
        cv2.imwrite(str(folder / "images" / f"{number:03}.png"), picture[..., ::-1])
        images.append(image(number + 1, f"{number:03}.png", size, split="test" if number % 4 == 3 else "train"))
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]
    return write_annotations(folder, images, categories, annotations)


def write_classified(
    folder: Path, count: int = 24, *, size: int = 64, names: Sequence[str] = ("red", "blue", "green"), seed: int = 0
) -> Path:
    """`count` pictures of `size` pixels with a square in one of the colours, which is the class of the picture; every fourth
    is of split `test`.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        kind = number % len(names)
        cv2.imwrite(str(folder / "images" / f"{number:03}.png"), square_of(names[kind], rng, size)[..., ::-1])
        held_out = number // len(names) % 4 == 3
        images.append(image(number + 1, f"{number:03}.png", size, split="test" if held_out else "train"))
        annotations.append({"id": number + 1, "image_id": number + 1, "category_id": kind + 1})
    categories = [{"id": n + 1, "name": name, "type": "classification"} for n, name in enumerate(names)]
    return write_annotations(folder, images, categories, annotations)


def square_of(name: str, rng: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """A picture (size, size, 3) RGB with a square of that colour somewhere."""
    picture: NDArray[np.uint8] = np.full((size, size, 3), 120, np.uint8) + rng.integers(
        0, 20, (size, size, 3), np.uint8
    )
    side = int(rng.integers(size // 4, size // 2))
    x, y = (int(value) for value in rng.integers(0, size - side, 2))
    picture[y : y + side, x : x + side] = COLOURS[name]
    return picture


def image(identity: int, name: str, size: int = 64, **more: Any) -> dict[str, Any]:
    """An entry of `images`."""
    return {"id": identity, "file_name": name, "width": size, "height": size, **more}


def annotation(identity: int, image_id: int, category_id: int, bbox: Sequence[float]) -> dict[str, Any]:
    """An entry of `annotations`; `bbox` x, y, width, height."""
    return {"id": identity, "image_id": image_id, "category_id": category_id, "bbox": list(bbox), "iscrowd": 0}


def write_annotations(
    folder: Path,
    images: Sequence[dict[str, Any]],
    categories: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
) -> Path:
    """Write `annotations.json`; returns `folder`."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    document = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def change(folder: Path, part: str, **values: Any) -> None:
    """Set keys of every entry of one part of `annotations.json`."""
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    document[part] = [{**entry, **values} for entry in document[part]]
    path.write_text(json.dumps(document))


def write_blank(folder: Path, name: str, width: int = 64, height: int = 64) -> None:
    """A grey picture."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / name), np.full((height, width, 3), 120, np.uint8))
