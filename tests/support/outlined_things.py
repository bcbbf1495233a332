"""Photographs that scikit-image ships, and things in them as they stand there, outlined by hand.

Nothing is composed here: the light, the shadows and what looks alike are the photograph's own. The outlines are good to
about 2 pixels; a hole in a thing belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from tests.support.pasted_things import Pixels, Scene, coins

pictures: Any = skimage.data  # its functions carry no types


@dataclass(frozen=True)
class _Outlined:
    photograph: str
    outline: str


@dataclass(frozen=True)
class _Ellipse:
    """Centre and half axes in pixels."""

    photograph: str
    x: float
    y: float
    across: float
    down: float


SLACK = 0.02
"""Of its longer side, by which the box around a thing is larger on each side."""

SOME_COINS = (4, 6, 11, 14, 20)
"""Those of which a threshold finds the whole and nothing else."""

_RIM = _Ellipse("coffee", 290.5, 113.5, 118, 96)

THINGS: dict[str, _Outlined | _Ellipse] = {
    "rim of the cup": _RIM,
    "spoon": _Outlined(
        "coffee",
        "366,243 385,250 400,262 406,278 403,296 392,312 375,322 358,325 342,317 331,302 326,285 330,265 345,250",
    ),
    "head": _Outlined(
        "astronaut",
        "153,75 158,55 172,42 190,36 205,22 225,16 245,18 262,25 278,40 290,52 297,65 301,82 299,100 292,115 280,128 "
        "275,135 268,136 262,150 256,165 256,180 250,188 235,190 215,189 190,182 187,170 184,150 180,132 174,130 "
        "168,118 158,105",
    ),
    "woman": _Outlined(
        "astronaut",
        "153,75 158,55 172,42 190,36 205,22 225,16 245,18 262,25 278,40 290,52 297,65 301,82 299,100 292,115 280,128 "
        "275,135 268,136 262,150 256,165 262,178 280,195 297,215 305,240 320,242 340,258 350,285 358,310 363,345 "
        "340,358 315,380 295,415 282,445 278,480 280,512 37,512 30,490 25,450 22,415 25,380 26,350 35,325 45,285 65,250 "
        "90,228 112,210 114,190 125,170 145,155 165,148 184,148 180,132 174,130 168,118 158,105",
    ),
    "helmet": _Outlined(
        "astronaut",
        "280,512 278,480 282,445 295,415 315,380 340,358 370,347 400,343 430,350 455,365 475,390 490,420 495,452 "
        "505,465 509,495 503,512",
    ),
    "patch": _Ellipse("astronaut", 170.5, 385, 37, 37),
    "badge": _Outlined("astronaut", "278,340 329,346 328,378 282,375"),
    "rocket": _Outlined(
        "rocket",
        "323,127 316,135 312.5,147 311,170 313.7,180 314.5,235 314,310 313,370 312,406 331.5,406 330,360 330,285 "
        "330,185 332,179 334,170 333,150 329,136",
    ),
    "left eye": _Outlined(
        "chelsea",
        "135.5,107.5 139,94 150,87 165,85 180,87.5 192.5,94 202.5,102.5 210,115 213.5,130 205,139 192,145 177,147 "
        "162,144 147,135 139,121",
    ),
    "right eye": _Outlined(
        "chelsea",
        "296,140 300,126 310,115 322,111 335,110 342,116 342,130 339,142 330,155 317,164 305,162 296,157",
    ),
    "nose": _Outlined(
        "chelsea",
        "241,233 250,228 270,227.5 285,230 292,232.5 290,240 280,242.5 274,252.5 267.5,259 256,259.5 252.5,250 "
        "249,242.5 241,237",
    ),
}


def scenes() -> dict[str, Scene]:
    """Every thing by its name, and some coins, each in its photograph."""
    found = {name: _scene(name, _photograph(each.photograph), _mask(each)) for name, each in THINGS.items()}
    saucer = _mask(_Ellipse("coffee", 278, 218, 201, 172))
    found["saucer with cup"] = _scene("saucer with cup", _photograph("coffee"), saucer | _mask(_RIM))
    grey, labels, _ = coins()
    for label in SOME_COINS:
        name = f"coin {label}"
        found[name] = _scene(name, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), (labels == label).astype(np.uint8))
    return found


def _scene(name: str, pixels: NDArray[Any], mask: Pixels) -> Scene:
    x, y, width, height = cv2.boundingRect(mask)
    slack = max(round(SLACK * max(width, height)), 1)
    left, top = max(x - slack, 0), max(y - slack, 0)
    right, bottom = min(x + width + slack, mask.shape[1]), min(y + height + slack, mask.shape[0])
    return Scene(name, np.asarray(pixels, np.uint8), mask, (left, top, right - left, bottom - top))


@cache
def _photograph(name: str) -> Pixels:
    return np.ascontiguousarray(getattr(pictures, name)(), dtype=np.uint8)


def _mask(thing: _Outlined | _Ellipse) -> Pixels:
    height, width = _photograph(thing.photograph).shape[:2]
    if isinstance(thing, _Ellipse):
        rows, columns = np.mgrid[:height, :width] + 0.5
        inside: NDArray[np.bool_] = ((columns - thing.x) / thing.across) ** 2 + (
            (rows - thing.y) / thing.down
        ) ** 2 <= 1
        return inside.astype(np.uint8)
    points = np.array([[float(number) for number in corner.split(",")] for corner in thing.outline.split()])
    fine = np.zeros((height * 4, width * 4), np.uint8)
    cv2.fillPoly(fine, [np.rint(points * 4).astype(np.int32)], 255)
    return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) >= 128, dtype=np.uint8)
