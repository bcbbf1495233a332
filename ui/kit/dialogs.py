"""A question before what cannot be undone. Everything else is done at once and can be undone."""

from __future__ import annotations

from nicegui import ui

from ui.kit.words import Button, heading, paragraph


async def confirmed(question: str, consequence: str, *, yes: str) -> bool:
    """Ask; `yes` names the deed. False where the visitor turns away."""
    with ui.dialog() as dialog, ui.element("div").classes("sheet").props('role="document"'):
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
