"""A composed set of pictures with known boxes: things pasted onto photographs.

Three kinds of things with many real instances: faces (scikit-image's `lfw_subset`), coins cut out of its photograph of
coins, and scikit-learn's handwritten digits on cards. They are pasted with scale, rotation, blur and light onto its
photographs, among things that are none of the three. Instances and backgrounds of the test pictures occur in none of the
others. The same seed gives the same files on every machine with the same libraries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Generator = np.random.Generator

CATEGORIES = ("face", "coin", "card")

SIZE = 192
"""Side of a picture, pixels."""

TEST_SHARE = 0.25
"""Of the instances of each thing, and of the backgrounds."""

_TRAIN_BACKGROUNDS = (
    "coffee.png",
    "chelsea.png",
    "brick.png",
    "grass.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "rocket.jpg",
)
_TEST_BACKGROUNDS = ("motorcycle_left.png", "gravel.png", "retina.jpg")


@dataclass(frozen=True, eq=False)
class Thing:
    """Something to be pasted: uint8 RGB (h, w, 3), and how much of each pixel is it: float32 (h, w), 0..1."""

    pixels: Pixels
    mask: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, and what is in it: category -> box x, y, width, height in pixels, in the order of pasting."""

    pixels: Pixels
    things: list[tuple[str, tuple[float, float, float, float]]]


def write(folder: Path, *, seed: int = 0, train: int = 900, test: int = 200, size: int = SIZE) -> Path:
    """Write `images/` and `annotations.json` (COCO, with `split`) into the new folder `folder`."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for split, count in (("train", train), ("test", test)):
        for number in range(count):
            scene = compose(np.random.default_rng((seed, split == "test", number)), split, size)
            name = f"{split}_{number:05}.jpg"
            cv2.imwrite(str(folder / "images" / name), scene.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            identity = len(images) + 1
            images.append({"id": identity, "file_name": name, "width": size, "height": size, "split": split})
            annotations += [
                {
                    "id": len(annotations) + each + 1,
                    "image_id": identity,
                    "category_id": CATEGORIES.index(kind) + 1,
                    "bbox": [round(value, 2) for value in box],
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                }
                for each, (kind, box) in enumerate(scene.things)
            ]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(CATEGORIES)]
    document = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def compose(rng: Generator, split: str, size: int = SIZE) -> Scene:
    """One picture of `split` (train or test)."""
    canvas = _background(rng, split, size)
    for _ in range(rng.integers(0, 4)):
        _paste(canvas, _distractor(rng), rng, [], size)
    boxes: list[tuple[float, float, float, float]] = []
    things: list[tuple[str, tuple[float, float, float, float]]] = []
    for _ in range(rng.integers(1, 6)):
        kind = CATEGORIES[rng.integers(len(CATEGORIES))]
        instances = _instances()[kind, split]
        box = _paste(canvas, instances[rng.integers(len(instances))], rng, boxes, size)
        if box is not None:
            boxes.append(box)
            things.append((kind, box))
    canvas = np.clip(canvas * rng.uniform(0.75, 1.25) + rng.normal(0, rng.uniform(0, 5), canvas.shape), 0, 255)
    return Scene(canvas.astype(np.uint8), things)


def _paste(
    canvas: NDArray[np.float32], thing: Thing, rng: Generator, taken: list[tuple[float, float, float, float]], size: int
) -> tuple[float, float, float, float] | None:
    """Turned, scaled, blurred and lit, where it hides nothing; the box of what can be seen. None: there is no room."""
    side = size * rng.uniform(0.16, 0.42)
    scale = side / max(thing.mask.shape)
    height, width = thing.mask.shape
    reach = int(np.ceil(np.hypot(height, width) * scale)) + 4
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), rng.uniform(-20, 20), scale)
    turn[0, 2] += (reach - width) / 2
    turn[1, 2] += (reach - height) / 2
    mask = cv2.warpAffine(thing.mask, turn, (reach, reach), flags=cv2.INTER_LINEAR)
    pixels = cv2.warpAffine(
        thing.pixels, turn, (reach, reach), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)
    if (blur := rng.uniform(0, 1.2)) > 0.3:
        cv2.GaussianBlur(pixels, (0, 0), blur, dst=pixels)
        cv2.GaussianBlur(mask, (0, 0), blur, dst=mask)
    lit = pixels * rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, 3) + rng.uniform(-15, 15)
    rows, columns = np.flatnonzero(mask.max(1) > 0.5), np.flatnonzero(mask.max(0) > 0.5)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    shown, lit = mask[top:bottom, left:right, None], lit[top:bottom, left:right]
    height, width = shown.shape[:2]
    if height >= size or width >= size:
        return None
    for _ in range(10):
        x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        if all(x + width <= bx or bx + bw <= x or y + height <= by or by + bh <= y for bx, by, bw, bh in taken):
            there = canvas[y : y + height, x : x + width]
            there[:] = there + shown * (np.clip(lit, 0, 255) - there)
            return float(x), float(y), float(width), float(height)
    return None


def _background(rng: Generator, split: str, size: int) -> NDArray[np.float32]:
    photographs = _photographs()
    names = _TRAIN_BACKGROUNDS if split == "train" else _TEST_BACKGROUNDS
    photograph = photographs[names[rng.integers(len(names))]]
    height, width = photograph.shape[:2]
    side = int(min(height, width) * rng.uniform(0.4, 1.0))
    x, y = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
    cut = cv2.resize(photograph[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    canvas: NDArray[np.float32] = cut.astype(np.float32) * np.float32(rng.uniform(0.6, 1.2))
    return canvas


def _distractor(rng: Generator) -> Thing:
    """A disc, a card without digit, or a ragged patch: near to what is sought, and none of it."""
    side = 48
    kind = rng.integers(3)
    mask = np.zeros((side, side), np.float32)
    colour = rng.uniform(30, 230, 3)
    pixels = np.full((side, side, 3), colour, np.float32)
    if kind == 0:
        cv2.circle(mask, (side // 2, side // 2), side // 2 - 2, 1.0, -1)
        pixels += np.linspace(-40, 40, side)[:, None, None]
    elif kind == 1:
        mask[2:-2, 2:-2] = 1.0
        for _ in range(3):
            ends = rng.integers(4, side - 4, 4)
            cv2.line(
                pixels, (int(ends[0]), int(ends[1])), (int(ends[2]), int(ends[3])), rng.uniform(0, 255, 3).tolist(), 2
            )
    else:
        corners = rng.integers(2, side - 2, (6, 2)).astype(np.int32)
        cv2.fillPoly(mask, [cv2.convexHull(corners)], 1.0)
        pixels += rng.normal(0, 30, (side, side, 1))
    return Thing(np.clip(pixels, 0, 255).astype(np.uint8), mask)


@cache
def _instances() -> dict[tuple[str, str], list[Thing]]:
    """Every instance of every kind, by kind and split."""
    found: dict[tuple[str, str], list[Thing]] = {}
    for kind, things in (("face", _faces()), ("coin", _coins()), ("card", _cards())):
        order = np.random.default_rng(7).permutation(len(things))
        held_out = set(order[: round(TEST_SHARE * len(things))].tolist())
        found[kind, "test"] = [thing for index, thing in enumerate(things) if index in held_out]
        found[kind, "train"] = [thing for index, thing in enumerate(things) if index not in held_out]
    return found


def _faces() -> list[Thing]:
    """The hundred faces of the Labelled Faces in the Wild, 25 x 25 grey, as ovals with a touch of skin's colour."""
    data = _module("skimage.data")
    mask = np.zeros((100, 100), np.float32)
    cv2.ellipse(mask, (50, 50), (42, 49), 0, 0, 360, 1.0, -1)
    things = []
    for face in data.lfw_subset()[:100]:
        grey = cv2.resize((face * 255).astype(np.float32), (100, 100), interpolation=cv2.INTER_CUBIC)
        rgb = np.clip(grey[..., None] * np.array([1.08, 0.97, 0.88]), 0, 255).astype(np.uint8)
        things.append(Thing(rgb, mask))
    return things


def _coins() -> list[Thing]:
    """The coins of one photograph, told from its background by their edges."""
    measure = _module("skimage.measure")
    picture = _module("skimage.data").coins()
    seeds = np.zeros(picture.shape, np.int32)
    seeds[picture < 30], seeds[picture > 150] = 1, 2
    coin = _module("skimage.segmentation").watershed(_module("skimage.filters").sobel(picture), seeds) == 2
    things = []
    for region in measure.regionprops(measure.label(coin)):
        top, left, bottom, right = region.bbox
        if not 700 < region.area < 6000 or region.solidity < 0.9 or min(top, left) == 0:
            continue
        grey = picture[top:bottom, left:right].astype(np.float32)
        rgb = np.clip(grey[..., None] * np.array([1.05, 0.98, 0.8]), 0, 255).astype(np.uint8)
        things.append(Thing(rgb, region.image_filled.astype(np.float32)))
    return things


def _cards() -> list[Thing]:
    """Handwritten digits, dark on a light card."""
    things = []
    for index, digit in enumerate(_module("sklearn.datasets").load_digits().images[:600]):
        ink = cv2.resize(digit.astype(np.float32) / 16, (44, 44), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        paper = np.array([[235, 230, 215], [215, 230, 240], [240, 240, 240]][index % 3], np.float32)
        card = np.ones((64, 56, 3), np.float32) * paper
        card[10:54, 6:50] -= ink[..., None] * (paper - 30)
        card[:2], card[-2:], card[:, :2], card[:, -2:] = 60, 60, 60, 60
        things.append(Thing(np.clip(card, 0, 255).astype(np.uint8), np.ones((64, 56), np.float32)))
    return things


def _module(name: str) -> Any:
    """A module without types."""
    return import_module(name)


@cache
def _photographs() -> dict[str, Pixels]:
    """scikit-image's photographs, as they lie in the package, RGB, at most 512 pixels wide."""
    folder = Path(str(_module("skimage.data").__file__)).parent
    found = {}
    for name in (*_TRAIN_BACKGROUNDS, *_TEST_BACKGROUNDS):
        read = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        assert read is not None, f"scikit-image ships no {name}"
        factor = 512 / max(read.shape[:2])
        small = cv2.resize(read, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else read
        found[name] = np.ascontiguousarray(small[..., ::-1]).astype(np.uint8)
    return found
