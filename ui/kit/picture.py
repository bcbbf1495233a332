"""A picture with what was found in it drawn over it; a box can be drawn on it by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nicegui import events, ui

from ui.kit.marks import Mark
from ui.kit.words import Words

LONGEST_WAY = 10.0
"""Seconds for which a slow line may hold up the next picture for its visitor."""


@dataclass(frozen=True)
class DrawnBox:
    """A box in pixels of the picture: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


class Picture(ui.element, component="picture.js"):
    """`show` gives it another picture; picture and marks change together once the browser has them."""

    def __init__(self, on_drawn: Callable[[DrawnBox | None], Any] | None = None) -> None:
        super().__init__()
        self._on_drawn = on_drawn
        self._arrived = asyncio.Event()
        self._arrived.set()
        self.props.update(src="", alt="", width=4, height=3, marks=[], least=0, drawing=False, drawn=None)
        self.on("shown", self._shown)
        self.on("drawn", self._drawn)

    def show(self, source: str, width: int, height: int, marks: Iterable[Mark], description: str) -> None:
        """A picture by its address; `width` and `height` are the pixels that the marks refer to.

        `description` is for people who cannot see it.
        """
        if source != self.props["src"]:
            self._arrived.clear()
        self.props.update(src=source, alt=description, width=max(width, 1), height=max(height, 1))
        self.props["marks"] = [mark.as_props() for mark in marks]
        self.update()

    async def arrived(self) -> None:
        """Return when the visitor's browser has the picture (or knows that it is gone), or will not have it soon."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), LONGEST_WAY)

    def show_from(self, least: float) -> None:
        """Draw only marks of that confidence or more."""
        self.props["least"] = least
        self.update()

    def draw(self, on: bool) -> None:
        """Let the visitor draw a box, or take the drawn one away."""
        self.props.update(drawing=on, drawn=None)
        self.update()

    def put_box(self, box: DrawnBox) -> None:
        """Have a box there as if it had been drawn, to be moved by hand or keys."""
        self.props["drawn"] = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
        self.update()
        self._tell(box)

    def into_view(self) -> None:
        """Bring it before the visitor's eyes."""
        self.run_method("come")

    def _shown(self, event: events.GenericEventArguments) -> None:
        if event.args == self.props["src"]:
            self._arrived.set()

    def _drawn(self, event: events.GenericEventArguments) -> None:
        self._tell(_box(event.args, self.props["width"], self.props["height"]))

    def _tell(self, box: DrawnBox | None) -> None:
        if self._on_drawn is not None:
            self._on_drawn(box)


def _box(said: Any, width: int, height: int) -> DrawnBox | None:
    """What a browser says of a box, held within the picture; None for what is no box."""
    try:
        x, y = (min(max(int(said[name]), 0), most) for name, most in (("x", width), ("y", height)))
        right, bottom = min(x + int(said["width"]), width), min(y + int(said["height"]), height)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return DrawnBox(x, y, right - x, bottom - y) if right > x and bottom > y else None


def described(marks: Sequence[Mark], what: str = "Picture") -> str:
    """What is in a picture, for people who cannot see it."""
    some = ", ".join(mark.words for mark in marks[:12])
    more = f" and {len(marks) - 12} more" if len(marks) > 12 else ""
    return f"{what} with {some}{more}" if marks else f"{what} in which nothing was found"


class FoundList(ui.element):
    """What was found, as a list with the colour of each."""

    def __init__(self) -> None:
        super().__init__("ul")
        self.classes("found")

    def show(self, marks: Iterable[Mark]) -> None:
        """Other things, in that order."""
        self.clear()
        with self:
            for mark in marks:
                with ui.element("li"):
                    swatch = ui.element("span").classes("swatch").props('aria-hidden="true"')
                    swatch.style(f"background: {mark.as_props()['colour']}")
                    Words("span", mark.name, "name")
                    if mark.confidence is not None:
                        Words("span", f"{mark.confidence:.0%}", "number")
