"""A question before what cannot be undone. Everything else is done at once and can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from ui.kit.words import Button, heading, paragraph


@contextmanager
def in_front(style: str = "") -> Iterator[ui.dialog]:
    """A sheet in front of the page. It belongs to the page as a whole: what was pressed may go while it is open."""
    with ui.context.client.content, ui.dialog() as dialog, ui.element("div").classes("sheet").style(style):
        yield dialog


async def confirmed(question: str, consequence: str, *, yes: str) -> bool:
    """Ask; `yes` names the deed. False where the visitor turns away."""
    with in_front() as dialog:
        heading(question)
        paragraph(consequence)
        with ui.element("div").classes("actions"):
            Button("Cancel", lambda: dialog.submit(False)).props("autofocus")
            Button(yes, lambda: dialog.submit(True), kind="primary danger")
    dialog.props["aria-label"] = question
    try:
        return bool(await dialog)
    finally:
        dialog.delete()
