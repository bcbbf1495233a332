"""What was found in a picture, as it is drawn over it: boxes, points, masks, and words about the whole."""

from __future__ import annotations

import colorsys
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Corner = tuple[float, float]
"""x and y, pixels of the picture."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LIGHTNESS = (0.36, 0.5, 0.64)


@dataclass(frozen=True)
class Mark:
    """One thing that was found: `name` of its category, `confidence` 0 to 1 (None: a person said so).

    Where: one of `box` (left, top, width, height), `point` (x, y), `mask` (the corners of a polygon), all in pixels of the
    picture as displayed; none of them is a word about the whole picture. `colour` (`#rrggbb`) is the category's own, if
    it has one.
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
        colour = self.colour if self.colour and _COLOUR.fullmatch(self.colour) else colour_of(self.name)
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


@lru_cache(maxsize=1024)
def colour_of(name: str) -> str:
    """The same colour for the same name, always and everywhere: `#rrggbb`."""
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    red, green, blue = colorsys.hls_to_rgb(hue, _LIGHTNESS[digest[2] % len(_LIGHTNESS)], 0.8)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read better on a colour; one of them always has a contrast of 4.5:1 or more."""
    return "#000000" if contrast(colour, "#000000") >= contrast(colour, "#ffffff") else "#ffffff"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1 between two colours `#rrggbb`: 1 to 21."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _around(corners: tuple[Corner, ...] | None) -> tuple[float, float, float, float] | None:
    if not corners:
        return None
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
