"""Lines that a person draws while they are held: bounded, however long the mouse wanders."""

from __future__ import annotations

from dataclasses import dataclass, field

from annotator_companion.tools.base import Action, Line, Look, Point

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
        if len(self.points) > MAX_POINTS:
            self.points = [*self.points[:-1:2], self.points[-1]]

    @property
    def line(self) -> Line:
        """As it is shown."""
        look: Look = "foreground" if self.is_foreground else "background"
        return Line(tuple(self.points), look)
