"""Lines that a person draws while they are held: bounded, however long the mouse wanders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from annotator_companion.tools.base import Action, Dot, Line, Look, Point

MAX_POINTS = 4096
"""Of one stroke; beyond, every other one is left out."""


@dataclass
class Stroke:
    """One line, and what it says: this belongs to the thing (`foreground`), or to what is around it."""

    is_foreground: bool
    points: list[Point] = field(default_factory=list)

    def follow(self, action: Action) -> None:
        """The mouse has moved on."""
        for point in (*action.trail, action.at):
            if not self.points or self.points[-1] != point:
                self.points.append(point)
        while len(self.points) > MAX_POINTS:
            self.points = [*self.points[:-1:2], self.points[-1]]

    @property
    def shape(self) -> Line | Dot:
        """As it is shown: a click is a dot."""
        look: Look = "foreground" if self.is_foreground else "background"
        return Line(tuple(self.points), look) if len(self.points) > 1 else Dot(self.points[0], look)


def foreground(strokes: Sequence[Stroke]) -> list[Point]:
    """Every place that somebody said belongs to the thing."""
    return [point for stroke in strokes if stroke.is_foreground for point in stroke.points]
