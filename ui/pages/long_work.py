"""How far something is that is done to many pictures, as every visitor sees it."""

from __future__ import annotations

from nicegui import ui

from ui.kit.words import Words
from ui.pages.numbers import count
from ui.ports import LongWork

_WORDS = {
    "delete": ("Deleting", "deleted"),
    "retry": ("Putting back what was rejected", "will be sent again"),
}
"""What goes on, and what was done."""


class Progress(ui.element):
    """A bar with words, there while the work goes on."""

    def __init__(self) -> None:
        super().__init__("div")
        self.classes("stack").props('role="status"')
        with self:
            self._words = Words("p", "", "small")
            self._bar = ui.element("progress").props('max="100"')
        self._seen: LongWork | None = None
        self.set_visibility(False)

    def show(self, work: LongWork | None) -> LongWork | None:
        """What is so now; returns the work if it has ended since the visitor saw it go on."""
        before, self._seen = self._seen, work
        running = work is not None and work.running
        self.set_visibility(running)
        if work is not None and running:
            self._words.text = f"{_WORDS[work.kind][0]}: {count(work.done)} of {count(work.total)}"
            self._bar.props["aria-label"] = _WORDS[work.kind][0]
            self._bar.props["value"] = round(100 * work.done / work.total) if work.total else 0
        ended = work is not None and not running and before is not None
        return work if ended and before != work else None


def outcome(work: LongWork) -> str:
    """What was done, as a sentence."""
    return f"{count(work.done)} {'picture' if work.done == 1 else 'pictures'} {_WORDS[work.kind][1]}."
