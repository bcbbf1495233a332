"""A box around a thing becomes the mask that a promptable model proposes; clicks correct it.

Drag a box with the left button, or click on the thing. Then click where something was left out; hold shift, or use the
right button, to click on what does not belong to it. Backspace takes back the last click, Enter ends the drawing; so does
dragging another box.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from annotator_companion.tools.base import Action, Box, Dot, Picture, Point, Region, Shape, Sketch
from annotator_companion.tools.segment_anything import (
    BELONGS,
    BOTTOM_RIGHT,
    DOES_NOT,
    TOP_LEFT,
    Embedding,
    SegmentAnything,
)

SMALLEST_BOX = 4
"""Pixels of the longer side; less is a click."""

MAX_CLICKS = 64


class Prompt:
    """See `annotator_companion.tools.base.Tool`. Raises what `SegmentAnything` raises.

    Pictures are encoded one after the other, each once, as soon as the mouse is over it: by the time that the box is
    drawn it is done, or nearly so.
    """

    name = "prompt"

    def __init__(self, encoder: Path, decoder: Path) -> None:
        self._model = SegmentAnything(encoder, decoder)
        self._encoding = ThreadPoolExecutor(1, "encoder")
        self._embeddings: WeakKeyDictionary[Picture, Future[Embedding]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def begin(self, picture: Picture) -> PromptDrawing:
        """See `Tool`."""
        with self._lock:
            embedding = self._embeddings.get(picture)
            if embedding is None or (embedding.done() and embedding.exception() is not None):
                embedding = self._encoding.submit(self._model.encode, picture.pixels)
                self._embeddings[picture] = embedding
        return PromptDrawing(self._model, picture, embedding)


class PromptDrawing:
    """See `annotator_companion.tools.base.Drawing`."""

    def __init__(self, model: SegmentAnything, picture: Picture, embedding: Future[Embedding]) -> None:
        self._model = model
        self._picture = picture
        self._embedding = embedding
        self._box: tuple[Point, Point] | None = None
        self._clicks: list[tuple[Point, bool]] = []
        self._region: Region | None = None

    def handle(self, action: Action) -> Sketch | None:
        """See `Drawing`."""
        is_drag = action.pressed is not None and _is_drag(action.pressed, action.at)
        if action.kind == "move" and action.pressed is not None and is_drag:
            return self._sketch(_shown(action.pressed, action.at))
        if action.kind == "up" and action.pressed is not None:
            if not is_drag:
                self._clicks = [*self._clicks[-MAX_CLICKS + 1 :], (action.at, not (action.shift or action.is_right))]
            elif self._region is not None:
                return None
            else:
                (x1, y1), (x2, y2) = action.pressed, action.at
                self._box = (min(x1, x2), min(y1, y2)), (max(x1, x2) + 1, max(y1, y2) + 1)
            return self._found()
        if action.kind == "key" and action.key == "Enter":
            return Sketch(region=self._region, is_finished=True)
        is_left_over = self._box is not None or len(self._clicks) > 1
        if action.kind == "key" and action.key == "Backspace" and self._clicks and is_left_over:
            self._clicks.pop()
            return self._found()
        return self._sketch()

    def _found(self) -> Sketch:
        corners = [] if self._box is None else [self._box]
        points = [point for box in corners for point in box] + [at for at, _ in self._clicks]
        labels = [label for _ in corners for label in (TOP_LEFT, BOTTOM_RIGHT)]
        labels += [BELONGS if belongs else DOES_NOT for _, belongs in self._clicks]
        self._region = self._proposed(points, labels)
        return Sketch(self._sketch().shapes, self._region, is_stored=True)

    def _proposed(self, points: Sequence[Point], labels: Sequence[float]) -> Region:
        """What the model says. Never empty: where it says nothing it is the box, else the pixel that was clicked on."""
        mask = self._model.masks(self._embedding.result(), points, labels)
        if mask.any():
            return Region(0, 0, self._picture.width, self._picture.height, mask)
        (left, top), (right, bottom) = self._box or (points[-1], (points[-1][0] + 1, points[-1][1] + 1))
        return Region(left, top, right - left, bottom - top, np.ones((1, 1), np.uint8))

    def _sketch(self, *more: Shape) -> Sketch:
        dots = tuple(Dot(at, "foreground" if belongs else "background") for at, belongs in self._clicks)
        return Sketch((*dots, *more), self._region)


def _is_drag(one: Point, other: Point) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) + 1 >= SMALLEST_BOX


def _shown(one: Point, other: Point) -> Box:
    (x1, y1), (x2, y2) = one, other
    return Box(min(x1, x2), min(y1, y2), abs(x1 - x2) + 1, abs(y1 - y2) + 1, "hint")
