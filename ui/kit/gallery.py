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


@dataclass(frozen=True)
class _Entry:
    thumb: Thumb
    root: ui.element
    tick: ui.element


class Gallery(ui.element):
    """Small pictures to be opened and picked. `on_open` is given an id, `on_pick` the ids that are picked."""

    def __init__(self, on_open: Callable[[str], Any], on_pick: Callable[[Sequence[str]], Any]) -> None:
        super().__init__("ul")
        self.classes("gallery")
        self._on_open = on_open
        self._on_pick = on_pick
        self._picked: dict[str, None] = {}
        self._shown: dict[str, _Entry] = {}

    @property
    def picked(self) -> list[str]:
        """The ids that are picked."""
        return list(self._picked)

    def show(self, thumbs: Sequence[Thumb]) -> None:
        """Other pictures. What is there already stays as it is: picked, and under the finger or the focus."""
        wanted = {thumb.id: thumb for thumb in thumbs}
        for item_id in [each for each, entry in self._shown.items() if wanted.get(each) != entry.thumb]:
            self._shown.pop(item_id).root.delete()
        for place, thumb in enumerate(thumbs):
            if thumb.id not in self._shown:
                with self, ui.element("li") as root:
                    self._shown[thumb.id] = _Entry(thumb, root, self._thumb(thumb))
            root = self._shown[thumb.id].root
            if self.default_slot.children[place] is not root:
                root.move(self, target_index=place)
        if set(self._picked) - set(wanted):
            self._picked = {item_id: None for item_id in self._picked if item_id in wanted}
            self._on_pick(self.picked)

    def pick(self, ids: Sequence[str]) -> None:
        """Pick these and no others."""
        self._picked = dict.fromkeys(ids)
        for item_id, entry in self._shown.items():
            entry.tick.props["checked"] = item_id in self._picked
        self._on_pick(self.picked)

    def _thumb(self, thumb: Thumb) -> ui.element:
        """Build one; returns the box to tick."""
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
        return box

    def _pick(self, item_id: str, event: events.GenericEventArguments) -> None:
        entry = self._shown.get(item_id)
        if entry is None:  # it has gone while it was ticked
            return
        entry.tick.props["checked"] = event.args is True  # else taking the tick back later would change nothing
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
