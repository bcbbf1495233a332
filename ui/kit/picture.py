"""A picture with boxes drawn over it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from nicegui import ui

Label = tuple[str, str, tuple[float, float, float, float]]
"""Name, which decides the colour, the text beside the box, and left, top, width, height in pixels."""

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")


def colour_of(name: str) -> str:
    """The same colour for the same name, always."""
    return COLOURS[hashlib.sha256(name.encode()).digest()[0] % len(COLOURS)]


def overlay(labels: Iterable[Label], width: int, height: int) -> str:
    """The boxes as SVG, in pixels of the picture. The texts come from models, so they are escaped."""
    line = max(width, height) / 320
    size = max(width, height) / 36
    parts = []
    for name, text, (left, top, box_width, box_height) in labels:
        colour = colour_of(name)
        text_top = max(top - size * 1.3, 0)
        text_width = len(text) * size * 0.62 + size * 0.3
        parts.append(
            f'<rect x="{left}" y="{top}" width="{box_width}" height="{box_height}" fill="none" stroke="{colour}" '
            f'stroke-width="{line}"/>'
            f'<rect x="{left}" y="{text_top}" width="{text_width}" height="{size * 1.3}" fill="{colour}"/>'
            f'<text x="{left + size * 0.2}" y="{text_top + size}" font-size="{size}" font-family="monospace" '
            f'fill="white">{escape(text)}</text>'
        )
    return "".join(parts)


def picture_with_boxes(jpeg: bytes, width: int, height: int, labels: Iterable[Label], description: str) -> None:
    """Show a JPEG; `width` and `height` are the pixels that the boxes refer to."""
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    shown = ui.interactive_image(source, content=overlay(labels, width, height), size=(width, height))
    shown.classes("w-full rounded").props("role=img")
    shown.props["aria-label"] = description  # not through text that is parsed: the names in it are the model's
