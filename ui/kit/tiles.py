"""Numbers at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from ui.kit.words import Words


@contextmanager
def tiles() -> Iterator[None]:
    """A row of tiles that wraps."""
    with ui.element("dl").classes("tiles"):
        yield


class Tile(ui.element):
    """A name and a number with its unit; a hint below where one is needed."""

    def __init__(self, name: str, value: str = "-", hint: str = "") -> None:
        super().__init__("div")
        self.classes("tile")
        with self:
            Words("dt", name)
            self._value = Words("dd", value)
            self._hint = Words("dd", hint, "hint")
        self._hint.set_visibility(bool(hint))

    def show(self, value: str, hint: str = "") -> None:
        """Another number."""
        self._value.text = value
        self._hint.text = hint
        self._hint.set_visibility(bool(hint))


@contextmanager
def facts() -> Iterator[None]:
    """A list of names and what they are; fill it with `fact`."""
    with ui.element("dl").classes("facts"):
        yield


def fact(name: str, value: str) -> Words:
    """One line of `facts`."""
    Words("dt", name)
    return Words("dd", value)
