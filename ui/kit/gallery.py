"""Many pictures, a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nicegui import events, ui

from ui.kit.words import Button, Words, chip


@dataclass(frozen=True)
class Thumb:
    """A picture in a gallery: its id, where its small form is, what it shows, words below, and short remarks.

    `remarks` are texts with a severity (or None).
    """

    id: str
    source: str
    description: str
    words: Sequence[str] = ()
    remarks: Sequence[tuple[str, str | None]] = ()


@dataclass
class Pages:
    """Where one is in a list that is read forward only: where the pages up to this one begin."""

    starts: list[str | None] = field(default_factory=lambda: [None])
    next: str | None = None

    @property
    def start(self) -> str | None:
        """Where this page begins."""
        return self.starts[-1]

    def forward(self) -> None:
        """On to the next page, if there is one."""
        if self.next is not None:
            self.starts.append(self.next)

    def back(self) -> None:
        """Back by a page."""
        if len(self.starts) > 1:
            self.starts.pop()

    def to_start(self) -> None:
        """Back to the first page."""
        del self.starts[1:]


class Gallery(ui.element):
    """Small pictures to be opened and picked. `on_open` is given an id, `on_pick` the ids that are picked."""

    def __init__(self, on_open: Callable[[str], Any], on_pick: Callable[[Sequence[str]], Any]) -> None:
        super().__init__("ul")
        self.classes("gallery")
        self._on_open = on_open
        self._on_pick = on_pick
        self._picked: dict[str, None] = {}
        self._shown: tuple[Thumb, ...] = ()

    @property
    def picked(self) -> list[str]:
        """The ids that are picked."""
        return list(self._picked)

    def show(self, thumbs: Sequence[Thumb]) -> None:
        """Other pictures; those that are still there stay picked."""
        if self._shown == tuple(thumbs):
            return
        self._shown = tuple(thumbs)
        there = {thumb.id for thumb in thumbs}
        self._picked = {item_id: None for item_id in self._picked if item_id in there}
        self.clear()
        with self:
            for thumb in thumbs:
                with ui.element("li"):
                    self._thumb(thumb)
        self._on_pick(self.picked)

    def pick(self, ids: Sequence[str]) -> None:
        """Pick these and no others."""
        self._picked = dict.fromkeys(ids)
        shown, self._shown = self._shown, ()
        self.show(shown)

    def _thumb(self, thumb: Thumb) -> None:
        with ui.element("div").classes("thumb"):
            with ui.element("button").classes("show").props('type="button"') as opener:
                image = ui.element("img").props('loading="lazy" decoding="async"')
                image.props["src"] = thumb.source
                image.props["alt"] = thumb.description
            opener.on("click", lambda: self._on_open(thumb.id), args=[])
            with ui.element("label").classes("pick"):
                box = ui.element("input").props('type="checkbox"')
                box.props["checked"] = thumb.id in self._picked
                Words("span", f"Pick {thumb.description}", "unseen")
            box.on("change", lambda event: self._pick(thumb.id, event), js_handler="(e) => emit(e.target.checked)")
            with ui.element("div").classes("about"):
                for number, line in enumerate(thumb.words):
                    Words("span", line, "muted" if number else "")
                if thumb.remarks:
                    with ui.element("div").classes("chips"):
                        for text, severity in thumb.remarks:
                            chip(text, severity)

    def _pick(self, item_id: str, event: events.GenericEventArguments) -> None:
        if event.args is True:
            self._picked[item_id] = None
        else:
            self._picked.pop(item_id, None)
        self._on_pick(self.picked)


class Pager(ui.element):
    """Back and on; `turn` is told after the place has changed."""

    def __init__(self, pages: Pages, turn: Callable[[], Awaitable[None]]) -> None:
        super().__init__("nav")
        self.classes("pager").props('aria-label="Pages of pictures"')
        self._pages = pages
        self._turn = turn
        with self:
            self._back = Button("Back", self._go_back)
            self._words = Words("span", "", "muted small")
            self._on = Button("More", self._go_on)

    def show(self, words: str) -> None:
        """What is shown now, in words."""
        self._words.text = words
        self._back.enable(len(self._pages.starts) > 1)
        self._on.enable(self._pages.next is not None)
        self.set_visibility(len(self._pages.starts) > 1 or self._pages.next is not None)

    async def _go_back(self) -> None:
        self._pages.back()
        await self._turn()

    async def _go_on(self) -> None:
        self._pages.forward()
        await self._turn()
