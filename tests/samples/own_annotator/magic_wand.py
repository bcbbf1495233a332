"""An annotator tool in a page of code: everything around a place that has about its colour."""

from __future__ import annotations

import math

import cv2
import numpy as np

from annotator_companion.tools.base import Action, Line, Picture, Region, Sketch

FEWEST, MOST = 8, 100
"""Steps of brightness, of 255, by which a colour may differ: of a click, and of the widest drag."""


class MagicWand:
    """The tool: one instance serves everybody. See `annotator_companion.tools.base.Tool`."""

    name = "magic_wand"

    def begin(self, picture: Picture) -> Wave:
        """Somebody begins to draw on a picture; what they draw until the annotation is done is kept in one object."""
        return Wave(picture)


class Wave:
    """One drawing: press on a thing, and pull. The farther away the button is let go, the more colours belong to it.

    See `annotator_companion.tools.base.Drawing`.
    """

    def __init__(self, picture: Picture) -> None:
        self._pixels = cv2.GaussianBlur(picture.pixels, (5, 5), 0)  # a copy: the picture belongs to everybody
        self._region: Region | None = None

    def handle(self, action: Action) -> Sketch | None:
        """Called for every move of the mouse, so it must be quick: what takes longer is done when the button goes up."""
        if action.kind == "down" and self._region is not None:
            return None  # this annotation is done; the press begins another one
        if action.kind == "move" and action.pressed is not None:
            return Sketch(shapes=(Line((action.pressed, action.at), "hint"),))
        if action.kind == "up" and action.pressed is not None:
            difference = min(FEWEST + math.dist(action.pressed, action.at) / 4, MOST)
            height, width = self._pixels.shape[:2]
            mask = np.zeros((height + 2, width + 2), np.uint8)
            flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
            cv2.floodFill(self._pixels, mask, action.pressed, 0, (difference,) * 3, (difference,) * 3, flags)
            self._region = Region(0, 0, width, height, mask[1:-1, 1:-1])
            return Sketch(region=self._region, is_stored=True)  # the outline is found, shown and sent for us
        return Sketch(region=self._region)
