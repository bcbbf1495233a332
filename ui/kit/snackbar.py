"""What was just done, for a few seconds at the lower edge, with a way back."""

from __future__ import annotations

from nicegui import ui

from ui.kit.words import Action, Button, paragraph

SHOWN_SECONDS = 10.0


class Snackbar:
    """One per page: what is said takes the place of what was said before."""

    def __init__(self) -> None:
        self._bar = ui.element("div").classes("snackbar").props('role="status" aria-live="polite"')
        self._timer: ui.timer | None = None

    def say(self, sentence: str, undo: Action | None = None) -> None:
        """Tell what was done; `undo` takes it back."""
        self.clear()
        with self._bar:
            paragraph(sentence)
            if undo is not None:
                Button("Undo", self._then(undo))
            else:
                Button("Close", self.clear)
            self._timer = ui.timer(SHOWN_SECONDS, self.clear, once=True)

    def clear(self) -> None:
        """Take it away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._bar.clear()

    def _then(self, undo: Action) -> Action:
        async def undone() -> None:
            outcome = undo()
            if outcome is not None:
                await outcome

        async def run() -> None:
            self.clear()
            await undone()

        return run
