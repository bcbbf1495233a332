"""Colours of categories: the same for the same name, told apart within one model, and readable with words upon them.

Names without a colour of their own get one that their name prefers; where that is too like one that is taken, the next that
is not. So a name keeps its colour when others come and go, unless they get in its way.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from functools import lru_cache

Lab = tuple[float, float, float]
"""OKLab: lightness 0 to 1, and how far towards red and yellow."""

HUES = 48
LIGHTNESSES = (0.5, 0.6, 0.7)
"""Of OKLab: in the middle, so that a colour stands out both from a light page and from a dark one."""

CHROMA = 0.19
"""At most: as colourful as a screen can show it, but no more than that."""

APART = (0.13, 0.11, 0.09, 0.07, 0.05, 0.04, 0.03, 0.02, 0.01)
"""Distances in OKLab to whatever is taken, in the order in which they are tried; 0.02 can just be seen side by side."""

_STRIDE = 89
"""From one colour that is tried to the next: prime to their number, so that all are tried."""

_WRITTEN = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")


def colour_of(name: str) -> str:
    """The colour `#rrggbb` of a name that stands alone."""
    return _CANDIDATES[_preferred(name)]


def palette(own: Mapping[str, str | None]) -> Mapping[str, str]:
    """Colours `#rrggbb` by the names of a model's categories. `own`: what the model says of each; None where nothing."""
    return _palette(tuple(sorted(own.items(), key=lambda item: item[0])))


def written(colour: str | None) -> str | None:
    """`#rrggbb` for a colour as people write it: also of three digits, also without `#`. None for anything else."""
    match = _WRITTEN.fullmatch(colour or "")
    if match is None:
        return None
    digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
    return f"#{digits.lower()}"


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read better on a colour; one of them always has a contrast of 4.5:1 or more."""
    return "#000000" if contrast(colour, "#000000") >= contrast(colour, "#ffffff") else "#ffffff"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1 between two colours `#rrggbb`: 1 to 21."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def distance(one: str, other: str) -> float:
    """How different two colours `#rrggbb` look: their distance in OKLab (Björn Ottosson, 2020)."""
    return math.dist(_lab(one), _lab(other))


@lru_cache(maxsize=64)
def _palette(own: tuple[tuple[str, str | None], ...]) -> Mapping[str, str]:
    found = {name: colour for name, said in own if (colour := written(said)) is not None}
    places = [_lab(colour) for colour in _CANDIDATES]
    room = [math.inf] * len(places)

    def take(lab: Lab) -> None:
        for number, place in enumerate(places):
            room[number] = min(room[number], math.dist(place, lab))

    for colour in found.values():
        take(_lab(colour))
    for name, _ in own:
        if name not in found:
            number = _with_room(_preferred(name), room)
            found[name] = _CANDIDATES[number]
            take(places[number])
    return found


def _with_room(preferred: int, room: list[float]) -> int:
    tried = [(preferred + step * _STRIDE) % len(room) for step in range(len(room))]
    for apart in APART:
        for number in tried:
            if room[number] >= apart:
                return number
    return preferred  # hundreds of categories: no eye tells them apart by colour


def _preferred(name: str) -> int:
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:4], "big") % len(_CANDIDATES)


# ---------------------------------------------------------------------- spaces


def _channels(colour: str) -> tuple[float, float, float]:
    """Linear red, green and blue, 0 to 1 (IEC 61966-2-1)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    red, green, blue = _channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@lru_cache(maxsize=1024)
def _lab(colour: str) -> Lab:
    red, green, blue = _channels(colour)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _shown(lightness: float, chroma: float, hue: float) -> str | None:
    """`#rrggbb` of a colour of OKLCh, hue in radians; None if no screen can show it."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    if not all(0.0 <= part <= 1.0 for part in linear):
        return None
    parts = (12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055 for part in linear)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _as_colourful_as_can_be(lightness: float, hue: float) -> str:
    chromas = (CHROMA * step / 100 for step in range(100, -1, -1))
    return next(colour for chroma in chromas if (colour := _shown(lightness, chroma, hue)) is not None)


_CANDIDATES = tuple(
    _as_colourful_as_can_be(lightness, 2 * math.pi * number / HUES)
    for number in range(HUES)
    for lightness in LIGHTNESSES
)
