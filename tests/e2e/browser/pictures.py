"""Pictures with several things in them, made of photographs that belong to everybody.

All of them come with scikit-image: the astronaut Eileen Collins is NASA's, in the public domain; the cat Chelsea (Stéfan van
der Walt) and the cup of coffee (Rachel Michetti, Pikolo Espresso Bar) were given away under CC0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.service.photographs import CAT, CUP, PERSON, Photograph, jpeg_of

GREY = (128, 128, 128)

Pixels = NDArray[np.uint8]


def _whole(photograph: Photograph, width: int, height: int) -> Pixels:
    """All of it, with grey at two sides."""
    return np.asarray(ImageOps.pad(Image.fromarray(photograph.pixels), (width, height), color=GREY))


def _cut(photograph: Photograph, width: int, height: int) -> Pixels:
    """Its middle."""
    return np.asarray(ImageOps.fit(Image.fromarray(photograph.pixels), (width, height)))


def four() -> bytes:
    """A JPEG of 800 x 800 pixels in which the seed model finds four things, more and less surely."""
    top = np.concatenate([_whole(PERSON, 400, 400), _whole(CUP, 400, 400)], axis=1)
    bottom = np.concatenate([_whole(CAT, 400, 400), _whole(CUP, 400, 400)[:, ::-1]], axis=1)
    return jpeg_of(np.concatenate([top, bottom]))


def several(number: int) -> list[bytes]:
    """So many JPEGs of 640 x 480 pixels, each another part of one of the photographs."""
    made = []
    for each in range(number):
        part = (each * 0.37 % 1.0, each * 0.61 % 1.0)
        whole = Image.fromarray((PERSON, CUP, CAT)[each % 3].pixels)
        width, height = (round(side * (0.95 - 0.04 * (each % 7))) for side in whole.size)
        left, top = round((whole.width - width) * part[0]), round((whole.height - height) * part[1])
        made.append(jpeg_of(np.asarray(ImageOps.fit(whole.crop((left, top, left + width, top + height)), (640, 480)))))
    return made


def two() -> bytes:
    """A JPEG of 1000 x 600 pixels with a cup and a cat beside each other."""
    return jpeg_of(np.concatenate([_cut(CUP, 500, 600), _cut(CAT, 500, 600)], axis=1))
