"""The page frame: title, width, light or dark as the browser likes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui


@contextmanager
def page_frame(title: str) -> Iterator[None]:
    """What is built inside becomes the page's content, in one column that fits a phone."""
    ui.page_title(title)
    ui.dark_mode(None)
    ui.colors(primary="#0f5c8c")
    with ui.header().classes("items-center q-py-sm"):
        ui.label(title).classes("text-h6").props('role="heading" aria-level="1"')
    with ui.column().classes("w-full max-w-3xl mx-auto q-pa-sm gap-4"):
        yield
