"""A hand on the mouse: what it does to a drawing, as the node tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotator_companion.polygons import outline
from annotator_companion.tools.base import Action, Drawing, Picture, Pixels, Point, Sketch, Tool
from tests.support.pasted_things import filled

Box = tuple[int, int, int, int]


def plain(width: int = 200, height: int = 160, value: int = 90) -> Pixels:
    """A picture in which nothing is to be seen."""
    return np.full((height, width, 3), value, np.uint8)


@dataclass
class Hand:
    """One drawing of a tool on a picture."""

    tool: Tool
    picture: Picture
    drawing: Drawing = field(init=False)

    def __post_init__(self) -> None:
        self.drawing = self.tool.begin(self.picture)

    def do(self, kind: Any, at: Point, **more: Any) -> Sketch:
        """One action that has to be answered."""
        sketch = self.drawing.handle(Action(kind, at, **more))
        assert sketch is not None, "the drawing says that it is over"
        return sketch

    def drag(self, *places: Point, **more: Any) -> Sketch:
        """Press at the first place, let go at the last."""
        start = places[0]
        self.do("down", start, pressed=start, **more)
        for place in places[1:]:
            self.do("move", place, pressed=start, **more)
        return self.do("up", places[-1], pressed=start, **more)

    def box(self, box: Box) -> Sketch:
        """Drag a box."""
        x, y, width, height = box
        return self.drag((x, y), (x + width // 2, y + 2), (x + width - 1, y + height - 1))

    def click(self, at: Point, **more: Any) -> Sketch:
        """Press and let go."""
        self.do("down", at, pressed=at, **more)
        return self.do("up", at, pressed=at, **more)

    def key(self, name: str) -> Sketch:
        """Let go of a key."""
        return self.do("key", (0, 0), key=name)

    def mask(self, sketch: Sketch, epsilon: float = 1.0) -> Pixels:
        """What the Loop would store, as a mask of the whole picture."""
        assert sketch.region is not None
        points = outline(sketch.region, epsilon, self.picture.width, self.picture.height)
        assert points
        return filled(points, self.picture.width, self.picture.height)
