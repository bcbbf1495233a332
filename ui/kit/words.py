"""Words and things to press: native elements, so that keyboards and screen readers know them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from ui.kit.icons import Icon, icon

Action = Callable[[], Any] | Callable[[], Awaitable[Any]]


class Words(TextElement):
    """Text in an element of HTML: `p`, `h2`, `dd` and the like. The text is never read as HTML."""

    def __init__(self, tag: str, text: str = "", classes: str = "") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)


def heading(text: str, level: int = 2, classes: str = "") -> Words:
    """A heading; a page has one of level 1."""
    return Words(f"h{level}", text, classes)


def paragraph(text: str = "", classes: str = "") -> Words:
    """A sentence or some."""
    return Words("p", text, classes)


class Button(ui.element):
    """Something to press. `kind`: any of `primary`, `danger`, `quiet`. Does nothing while its action runs; without an action
    it sends the form that it is in.

    `about` is what readers hear behind the text, where the text alone does not say what it is done to.
    """

    def __init__(
        self, text: str, on_press: Action | None, *, kind: str = "", about: str = "", image: Icon | None = None
    ) -> None:
        super().__init__("button")
        self._on_press = on_press
        self._busy = False
        self.classes(f"button {kind}").props["type"] = "button" if on_press is not None else "submit"
        with self:
            if image is not None:
                icon(image)
            self._words = Words("span", text)
            if about:
                Words("span", about, "unseen")
        if on_press is not None:
            self.on("click", self._press, args=[])

    @property
    def text(self) -> str:
        """What stands on it."""
        return str(self._words.text)

    @text.setter
    def text(self, text: str) -> None:
        self._words.text = text

    def enable(self, possible: bool) -> None:
        """Whether it can be pressed."""
        self.props.set_bool("disabled", not possible)

    async def _press(self) -> None:
        if self._busy or self.props.get("disabled") or self._on_press is None:
            return
        self._busy = True
        try:
            outcome = self._on_press()
            if asyncio.iscoroutine(outcome):  # a dialog can be awaited, too, until it is closed
                await outcome
        finally:
            self._busy = False


def link(text: str, path: str, classes: str = "") -> Words:
    """Where to go."""
    made = Words("a", text, classes)
    made.props["href"] = path
    return made


def chip(text: str, severity: str | None = None) -> Words:
    """A short word about something. `severity`: good, notice, warning, error; none: plain."""
    made = Words("span", text, "chip")
    if severity is not None:
        made.props["data-severity"] = severity
    return made
