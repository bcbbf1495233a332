"""A few icons as lines, drawn in the colour of the text beside them. None ever stands alone: they are hidden from readers."""

from __future__ import annotations

from nicegui import ui

_PATHS = {
    "overview": "M3 12 12 4l9 8M5.5 10v10h13V10M10 20v-6h4v6",
    "live": "M4 8h3l2-3h6l2 3h3v11H4zM12 10.2a3.3 3.3 0 1 0 0 6.6 3.3 3.3 0 0 0 0-6.6z",
    "models": "M12 3 4 7.5v9L12 21l8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
    "outbox": "M4 13v6h16v-6M12 15V4M7.5 8.5 12 4l4.5 4.5",
    "system": "M5 5h14v14H5zM9 9h6v6H9zM9 2v3M15 2v3M9 19v3M15 19v3M2 9h3M2 15h3M19 9h3M19 15h3",
    "settings": "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
    "eye": "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.2a2.8 2.8 0 1 0 0 5.6 "
    "2.8 2.8 0 0 0 0-5.6z",
    "good": "M5 12.5 10 17.5 19.5 7",
    "notice": "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 11v5M12 8v.01",
    "warning": "M12 4 2.8 20h18.4zM12 10v5M12 17.5v.01",
    "error": "M8.5 3.5h7l5 5v7l-5 5h-7l-5-5v-7zM9 9l6 6M15 9l-6 6",
    "picture": "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9v.01",
    "leave": "M14 4H5v16h9M10 12h11M17.5 8.5 21 12l-3.5 3.5",
    "lock": "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
}

Icon = str
"""One of the names above."""


def svg(name: Icon) -> str:
    """The same as HTML, for a page that is none of NiceGUI's."""
    opening = '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
    return f'{opening}<path d="{_PATHS[name]}"></path></svg>'


def icon(name: Icon) -> ui.element:
    """An icon before a text that says the same."""
    with ui.element("svg").classes("icon").props('viewBox="0 0 24 24" aria-hidden="true" focusable="false"') as drawn:
        path = ui.element("path")
        path.props["d"] = _PATHS[name]
    return drawn
