"""What a page shows over the picture: one SVG element, `<g>`, in pixels of the picture.

It is a fragment, as learning-loop-node's annotators answer it: the page puts it into an SVG of its own that lies over the
picture. Built as a tree and written by a library, so that it is XML whatever the Loop calls its colours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from annotator_companion.tools.base import Box, Dot, Line, Look, Point, Shape

DEFAULT_COLOUR = "#00b4d8"

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})|[a-zA-Z]{3,20}")
_COLOURS: dict[Look, str] = {"foreground": "#2ec4b6", "background": "#e63946", "hint": "#ffffff"}
_DOT = 4


def overlay(polygon: Sequence[Point], shapes: Iterable[Shape], colour: str | None) -> str:
    """SVG of the outline found so far, filled lightly, and the shapes over it; "" if there is nothing to show.

    `colour` is that of the category, `#rrggbb` or a name; anything else is not used.
    """
    colour = colour if colour and _COLOUR.fullmatch(colour) else DEFAULT_COLOUR
    group = ElementTree.Element("g", {"fill": "none", "stroke-width": "2", "stroke-linejoin": "round"})
    if polygon:
        look = {"points": _text(polygon), "stroke": colour, "fill": colour, "fill-opacity": "0.25"}
        _add(group, "polygon", look)
    for shape in shapes:
        stroke = {"stroke": _COLOURS.get(shape.look, colour)}
        if isinstance(shape, Box):
            place = {"x": shape.x, "y": shape.y, "width": shape.width, "height": shape.height}
            _add(group, "rect", {**{key: str(value) for key, value in place.items()}, **stroke})
        elif isinstance(shape, Line):
            _add(group, "polyline", {"points": _text(shape.points), **stroke})
        elif isinstance(shape, Dot):
            place = {"cx": shape.at[0], "cy": shape.at[1], "r": _DOT}
            _add(group, "circle", {**{key: str(value) for key, value in place.items()}, **stroke})
    return ElementTree.tostring(group, encoding="unicode") if len(group) else ""


def _add(group: ElementTree.Element, kind: str, attributes: dict[str, str]) -> None:
    # Lines stay as wide as they are, however far the page zooms in.
    ElementTree.SubElement(group, kind, {**attributes, "vector-effect": "non-scaling-stroke"})


def _text(points: Iterable[Point]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
