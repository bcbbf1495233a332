"""Pictures shown otherwise: mirrored, nearer, farther, aside, in another light; boxes go with them.

Everything is one affine map for the pixels, computed by OpenCV, and the same map for all boxes of the picture at once.
What is random comes from the generator that is handed in, one a picture, so that a training that is resumed, or divided
among more processes, sees the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]

GREY = 114
"""What is seen beside a picture that was made smaller."""

SEEN = 0.3
"""Share of its area that must be left of a thing that was cut off; of less, nobody could say what it is."""

SHORTEST = 2.0
"""Pixels of the input; what is shorter shows nothing."""


@dataclass(frozen=True)
class Augmentation:
    """How much is changed. Shares are 0..1; see the hyperparameters of the same names."""

    flip_horizontal: bool = True
    flip_vertical: bool = False
    zoom: float = 0.3
    colour: float = 0.3


Affine = NDArray[np.float64]


def choose_map(width: int, height: int, settings: Augmentation, rng: np.random.Generator) -> Affine:
    """A random map (2, 3) from pixels of the input to pixels of the input, without rotation: boxes stay boxes."""
    scale = np.exp(rng.uniform(np.log(1 - settings.zoom), -np.log(1 - settings.zoom)) if settings.zoom else 0.0)
    stretch = np.exp(rng.uniform(-0.1, 0.1)) if settings.zoom else 1.0
    sx, sy = scale * stretch, scale / stretch
    # Room is what the smaller of picture and input leaves in the larger one.
    left = rng.uniform(min(0.0, width * (1 - sx)), max(0.0, width * (1 - sx)))
    top = rng.uniform(min(0.0, height * (1 - sy)), max(0.0, height * (1 - sy)))
    made = np.array([[sx, 0.0, left], [0.0, sy, top]])
    if settings.flip_horizontal and rng.random() < 0.5:
        made[0] = -made[0]
        made[0, 2] += width
    if settings.flip_vertical and rng.random() < 0.5:
        made[1] = -made[1]
        made[1, 2] += height
    return made


def move_boxes(boxes: Boxes, how: Affine, width: int, height: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """Boxes xyxy (N, 4) under a map without rotation, cut off at the edges; and which of them are still to be seen."""
    scale = np.array([how[0, 0], how[1, 1]] * 2)
    shift = np.array([how[0, 2], how[1, 2]] * 2)
    moved = boxes * scale + shift
    low, high = np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])
    whole = (high - low).prod(1)
    size = np.array([width, height])
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    left = high - low
    seen = (left.prod(1) >= SEEN * whole) & (left >= SHORTEST).all(1)
    return np.concatenate([low, high], 1).astype(np.float32), seen


def move_pixels(pixels: Pixels, how: Affine, out: Pixels) -> None:
    """Draw `pixels` under the map into `out`, grey beside it."""
    # The centre of the first pixel is at 0.5, 0.5 for boxes and at 0, 0 for OpenCV.
    shifted = how.copy()
    shifted[:, 2] += how[:, :2].sum(1) * 0.5 - 0.5
    height, width = out.shape[:2]
    cv2.warpAffine(
        pixels,
        shifted,
        (width, height),
        dst=out,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(GREY,) * 3,
    )


def relight(pixels: Pixels, strength: float, rng: np.random.Generator) -> None:
    """Change brightness, contrast and the balance of colours, in place: one table of 256 values a channel."""
    if not strength:
        return
    contrast = rng.uniform(1 - strength, 1 + strength)
    brightness = rng.uniform(-strength, strength) * 128
    balance = 1 + rng.uniform(-strength, strength, 3) * 0.5
    values = np.arange(256)[:, None] * balance
    table = np.clip((values - 128) * contrast + 128 + brightness, 0, 255).astype(np.uint8)
    cv2.LUT(pixels, table[None], dst=pixels)


def augment(
    pixels: Pixels,
    boxes: Boxes,
    classes: NDArray[np.int64],
    settings: Augmentation,
    rng: np.random.Generator,
    out: Pixels,
) -> tuple[Boxes, NDArray[np.int64]]:
    """Draw a changed picture into `out` (height, width, 3) and return the boxes (pixels of `out`) and classes in it.

    Without boxes, the classes are those of the picture as a whole, and stay.
    """
    height, width = out.shape[:2]
    how = choose_map(width, height, settings, rng)
    move_pixels(pixels, how, out)
    relight(out, settings.colour, rng)
    if not len(boxes):
        return boxes, classes
    moved, seen = move_boxes(boxes, how, width, height)
    return moved[seen], classes[seen]


def mosaic(
    parts: list[tuple[Pixels, Boxes, NDArray[np.int64]]],
    settings: Augmentation,
    rng: np.random.Generator,
    out: Pixels,
) -> tuple[Boxes, NDArray[np.int64]]:
    """Four pictures as the quarters of one, which meet at a random point; otherwise like `augment`."""
    height, width = out.shape[:2]
    x, y = int(width * rng.uniform(0.35, 0.65)), int(height * rng.uniform(0.35, 0.65))
    windows = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    all_boxes, all_classes = [], []
    for (pixels, boxes, classes), (left, top, right, bottom) in zip(parts, windows, strict=True):
        part = np.empty((bottom - top, right - left, 3), np.uint8)
        how = choose_map(width, height, settings, rng)
        shrink = rng.uniform(0.5, 1.0)
        how[:, :] *= shrink
        # Which part of the picture is looked at through the window.
        how[0, 2] -= rng.uniform(0, max(0.0, width * shrink - (right - left)))
        how[1, 2] -= rng.uniform(0, max(0.0, height * shrink - (bottom - top)))
        move_pixels(pixels, how, part)
        moved, seen = move_boxes(boxes, how, right - left, bottom - top)
        out[top:bottom, left:right] = part
        all_boxes.append(moved[seen] + np.array([left, top, left, top], np.float32))
        all_classes.append(classes[seen])
    relight(out, settings.colour, rng)
    return np.concatenate(all_boxes), np.concatenate(all_classes)
