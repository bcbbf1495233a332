"""How long ago something was."""

from __future__ import annotations

from nicegui import ui


class Ago(ui.element, component="ago.js"):
    """Counts on by itself, in the browser."""

    def __init__(self, age: float = 0.0) -> None:
        super().__init__()
        self._revision = 0
        self.props.update(age=age, revision=0)

    def show(self, age: float) -> None:
        """It was so many seconds ago."""
        self._revision += 1
        self.props.update(age=round(max(age, 0.0), 1), revision=self._revision)
        self.update()
