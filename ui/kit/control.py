"""A native control: what stands in it is its visitor's, until something else is put in."""

from __future__ import annotations

from nicegui import ui


class Control(ui.element, component="control.js"):
    """An `input` or a `select`; other properties and events are those of that element."""

    def __init__(self, tag: str, value: str = "") -> None:
        super().__init__()
        self.props.update(tag=tag, value=value, revision=0)

    def put(self, value: str) -> None:
        """Have this in it, whatever stands there."""
        self.props.update(value=value, revision=int(self.props["revision"]) + 1)
