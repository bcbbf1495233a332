"""Photographs with things pasted into them, so that the mask of each thing is known. Composed, not found: said so wherever
a number comes from them.

Coins, faces and horses are cut out of pictures that scikit-image ships, scaled, turned, tinted, and laid with soft edges
onto photographs that it ships, too. The same seed gives the same scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

pictures: Any = skimage.data  # its functions carry no types

Pixels = NDArray[np.uint8]

KINDS = ("coin", "face", "horse")
BACKGROUNDS = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle")


@dataclass(frozen=True)
class Scene:
    """uint8 RGB `pixels`, the `mask` (0 or 1) of the one thing in it, and the `box` (x, y, width, height) that a person
    draws around it: a few pixels too large or too small on each side."""

    kind: str
    pixels: Pixels
    mask: Pixels
    box: tuple[int, int, int, int]


def scene(seed: int, width: int = 1280, height: int = 960) -> Scene:
    """One thing on one photograph."""
    dice = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    background = _background(BACKGROUNDS[int(dice.integers(len(BACKGROUNDS)))], width, height).astype(np.float32)
    thing, alpha = _thing(kind, dice, int(dice.uniform(0.12, 0.45) * min(width, height)))
    rows, columns = alpha.shape
    x, y = int(dice.integers(0, width - columns)), int(dice.integers(0, height - rows))
    there = background[y : y + rows, x : x + columns]
    background[y : y + rows, x : x + columns] = there + alpha[..., None] * (thing - there)
    mask = np.zeros((height, width), np.uint8)
    mask[y : y + rows, x : x + columns] = alpha >= 0.5
    noisy = background + dice.normal(0, 2, background.shape)
    return Scene(kind, np.clip(noisy, 0, 255).astype(np.uint8), mask, _drawn_box(mask, dice))


def intersection_over_union(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of two masks: 0..1."""
    a, b = one != 0, other != 0
    return float((a & b).sum() / max((a | b).sum(), 1))


def filled(points: Any, width: int, height: int) -> Pixels:
    """The mask (0 or 1) of a polygon whose corners are corners of pixels."""
    # Four times finer, because OpenCV fills the pixels that a side runs through.
    fine = np.zeros((height * 4, width * 4), np.uint8)
    cv2.fillPoly(fine, [np.asarray(points, np.int32) * 4], 255)
    return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) >= 128, dtype=np.uint8)


def _drawn_box(mask: Pixels, dice: np.random.Generator) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(mask)
    slack = max(width, height) * 0.04
    left, top, right, bottom = dice.uniform(-0.25 * slack, slack, 4)
    x1, y1 = max(int(x - left), 0), max(int(y - top), 0)
    x2, y2 = min(int(x + width + right), mask.shape[1]), min(int(y + height + bottom), mask.shape[0])
    return x1, y1, x2 - x1, y2 - y1


def _thing(kind: str, dice: np.random.Generator, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """RGB 0..255 and opacity 0..1 of a thing that is `size` pixels long, turned, with soft edges."""
    cut, mask = _cut_out(kind, int(dice.integers(1000)))
    if cut.ndim == 2:
        tint = {"coin": (1.0, 0.85, 0.6), "face": (1.0, 0.8, 0.7), "horse": (0.8, 0.55, 0.4)}[kind]
        cut = cut[..., None] * (np.array(tint) * dice.uniform(0.9, 1.1, 3)).astype(np.float32)
    scale = size / max(mask.shape)
    side = int(size * 1.5) + 8
    centre = (mask.shape[1] / 2, mask.shape[0] / 2)
    turn = np.asarray(cv2.getRotationMatrix2D(centre, float(dice.uniform(-40, 40)), scale), np.float64)
    turn[:, 2] += side / 2 - np.array(centre)
    turned = cv2.warpAffine(
        cut.astype(np.float32), turn, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    alpha = cv2.warpAffine(mask.astype(np.float32), turn, (side, side), flags=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(alpha, (0, 0), float(dice.uniform(0.8, 2.0)))
    light = float(dice.uniform(0.8, 1.2))
    x, y, width, height = cv2.boundingRect((alpha > 0.01).astype(np.uint8))
    cropped = slice(y, y + height), slice(x, x + width)
    return np.clip(turned[cropped] * light, 0, 255).astype(np.float32), alpha[cropped].astype(np.float32)


def _cut_out(kind: str, number: int) -> tuple[NDArray[Any], Pixels]:
    if kind == "coin":
        picture, labels, statistics = coins()
        label = 1 + number % (len(statistics) - 1)
        x, y, width, height = statistics[label][:4]
        part = slice(y, y + height), slice(x, x + width)
        return picture[part], (labels[part] == label).astype(np.uint8)
    if kind == "face":
        face = np.asarray(pictures.lfw_subset()[number % 100] * 255, np.float32)
        mask = np.zeros((200, 200), np.uint8)
        cv2.ellipse(mask, (100, 100), (74, 96), 0, 0, 360, 1, -1)
        return cv2.resize(face, (200, 200), interpolation=cv2.INTER_CUBIC), mask
    skin = [pictures.gravel, pictures.brick, pictures.grass][number % 3]()[:328, :400]
    return skin, np.asarray(pictures.horse() == 0, np.uint8)


@cache
def coins() -> tuple[Pixels, NDArray[np.int32], NDArray[np.int32]]:
    """The picture, and which pixel belongs to which coin: those that were found whole."""
    picture: Pixels = pictures.coins()
    # Lit from above: the ground is brighter up there than some coins are.
    ground = cv2.GaussianBlur(cv2.morphologyEx(picture, cv2.MORPH_OPEN, np.ones((61, 61), np.uint8)), (0, 0), 20)
    level = cv2.subtract(picture, ground)
    _, bright = cv2.threshold(cv2.GaussianBlur(level, (0, 0), 1.5), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    labels = np.zeros(picture.shape, np.int32)
    kept: list[list[int]] = [[0, 0, 0, 0]]
    for contour in contours:
        hull = cv2.convexHull(contour)
        x, y, width, height = cv2.boundingRect(hull)
        if cv2.contourArea(hull) > 900 and 0.8 < width / height < 1.25 and cv2.contourArea(hull) < 4500:
            cv2.drawContours(labels, [hull], -1, len(kept), -1)
            kept.append([x, y, width, height])
    return picture, labels, np.asarray(kept, np.int32)


@cache
def _background(name: str, width: int, height: int) -> Pixels:
    picture: Pixels = pictures.stereo_motorcycle()[0] if name == "motorcycle" else getattr(pictures, name)()
    factor = max(width / picture.shape[1], height / picture.shape[0])
    scaled = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.asarray(scaled[:height, :width], dtype=np.uint8)
