"""What a page says when there is nothing, when something is on its way, and when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from ui.kit.icons import Icon, icon
from ui.kit.words import Words, paragraph


@contextmanager
def empty(title: str, way_on: str = "", image: Icon = "picture") -> Iterator[None]:
    """There is nothing here, and what would change that; buttons may follow inside."""
    with ui.element("div").classes("empty"):
        icon(image)
        paragraph(title, "title")
        if way_on:
            paragraph(way_on)
        yield


def loading(what: str) -> ui.element:
    """Something is on its way."""
    return Words("div", what, "loading").props('role="status"')


@contextmanager
def banner(severity: str, title: str, way_out: str = "") -> Iterator[ui.element]:
    """Something is to be known, or wrong: `severity` is good, notice, warning or error; buttons may follow inside."""
    with ui.element("div").classes("banner") as shown:
        shown.props["data-severity"] = severity
        if severity == "error":
            shown.props["role"] = "alert"
        icon(severity)
        with ui.element("div").classes("body"):
            paragraph(title)
            if way_out:
                paragraph(way_out)
            with ui.element("div").classes("actions") as actions:
                yield actions
            actions.set_visibility(bool(actions.default_slot.children))


class Wrong(Words):
    """The place beside something pressed where an error is told; empty: not there."""

    def __init__(self) -> None:
        super().__init__("p", "", "wrong")
        self.props["role"] = "alert"

    def say(self, sentence: str) -> None:
        """Tell what went wrong; nothing takes it away."""
        self.text = sentence
