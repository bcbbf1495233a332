"""What was found in a picture, as it is drawn over it: boxes, points, masks, and words about the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ui.kit.colours import colour_of, ink_on, written

Corner = tuple[float, float]
"""x and y, pixels of the picture."""


@dataclass(frozen=True)
class Mark:
    """One thing that was found: `name` of its category, `confidence` 0 to 1 (None: a person said so).

    Where: one of `box` (left, top, width, height), `point` (x, y), `mask` (the corners of a polygon), all in pixels of the
    picture as displayed; none of them is a word about the whole picture. `colour` (`#rrggbb`) is what the category has in
    its model (`ui.kit.colours.palette`); without one the name alone decides.
    """

    name: str
    confidence: float | None = None
    box: tuple[float, float, float, float] | None = None
    point: Corner | None = None
    mask: tuple[Corner, ...] | None = None
    colour: str | None = None

    @property
    def words(self) -> str:
        """For people: name and confidence."""
        return self.name if self.confidence is None else f"{self.name} {self.confidence:.0%}"

    def as_props(self) -> dict[str, Any]:
        """For the browser."""
        colour = written(self.colour) or colour_of(self.name)
        left, top, width, height = self.box or _around(self.mask) or (0.0, 0.0, 0.0, 0.0)
        if self.point is not None:
            left, top = self.point
        return {
            "kind": "box" if self.box else "point" if self.point else "mask" if self.mask else "whole",
            "words": self.words,
            "confidence": 1.0 if self.confidence is None else self.confidence,
            "x": left,
            "y": top,
            "width": width,
            "height": height,
            "corners": " ".join(f"{x},{y}" for x, y in self.mask or ()),
            "colour": colour,
            "ink": ink_on(colour),
        }


def _around(corners: tuple[Corner, ...] | None) -> tuple[float, float, float, float] | None:
    if not corners:
        return None
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
