"""`/outbox`: what waits for the Learning Loop, why, and what became of the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlencode

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.dialogs import confirmed, in_front
from ui.kit.following import follow
from ui.kit.gallery import Gallery, Pager, Pages, Thumb
from ui.kit.mode_switch import ModeSwitch, Option
from ui.kit.picture import FoundList, Picture, described
from ui.kit.states import Wrong, banner, empty
from ui.kit.tiles import Tile, fact, facts, tiles
from ui.kit.words import Button, Words, heading, link, paragraph
from ui.pages.long_work import Progress, outcome
from ui.pages.numbers import count, size
from ui.pages.places import Page, page
from ui.ports import Box, OutboxFolder, OutboxItem, OutboxPage, OutboxView

PER_PAGE = 24

MODES = (
    Option("continuous_upload", "Send", "Pictures go to the Learning Loop as they come."),
    Option("stopped", "Stopped", "No byte leaves this box. Pictures wait."),
)

FOLDERS: tuple[tuple[OutboxFolder, str, str], ...] = (
    (
        "normal",
        "Waiting",
        "Nothing waits. Pictures that the model was unsure of, and those that are uploaded, come here.",
    ),
    ("priority", "To go first", "Nothing waits to be sent first."),
    ("rejected", "Rejected", "The Learning Loop has rejected nothing."),
)


async def build(box: Box) -> None:
    """Build the page for one visitor."""
    async with page(box, "/outbox") as around:
        await _Outbox(box, around).build()


class _Outbox:
    """The page for one visitor."""

    def __init__(self, box: Box, around: Page) -> None:
        self._outbox = box.outbox
        self._around = around
        self._view: OutboxView | None = None
        self._folder: OutboxFolder = "normal"
        self._pages = Pages()
        self._items: dict[str, OutboxItem] = {}

    async def build(self) -> None:
        with ui.element("section").classes("section"):
            with ui.element("div").classes("card"):
                self._switch = ModeSwitch("Sending", MODES, self._choose_mode)
                self._sending = paragraph("", "small")
            self._errors = ui.element("div")
            with tiles():
                self._waiting, self._first, self._rejected, self._bytes = (
                    Tile("Waiting"),
                    Tile("To go first"),
                    Tile("Rejected"),
                    Tile("On the disk"),
                )
            with ui.element("details"):
                Words("summary", "What became of all pictures")
                self._tallies = ui.element("dl").classes("facts").style("padding: 4px 0")
        with ui.element("section").classes("section"):
            with ui.element("div").classes("head"):
                heading("Pictures")
                self._save = link("", "", "button").props("download")
            self._shown = ModeSwitch("Show", [Option(folder, name) for folder, name, _ in FOLDERS], self._choose_folder)
            self._toolbar()
            self._work = Progress()
            self._wrong = Wrong()
            self._gallery = Gallery(self._open, self._picked)
            self._empty = ui.element("div")
            self._pager = Pager(self._pages, self._load)
        await follow(self._outbox.feed, self._show)
        self._shown.show(self._folder)

    def _toolbar(self) -> None:
        with ui.element("div").classes("actions"):
            self._all = Button("Pick all on this page", self._pick_all, kind="quiet")
            self._words = Words("span", "", "small muted")
            self._delete = Button("Delete", self._delete_picked, kind="danger")
            self._first_button = Button("Send first", lambda: self._do(self._outbox.prioritise, "will be sent first"))
            self._retry = Button("Send again", lambda: self._do(self._outbox.retry, "will be sent again"))
            self._retry_all = Button("", self._begin_retry_all, kind="quiet")
            self._delete_all = Button("", self._ask_delete_all, kind="quiet danger")

    # ------------------------------------------------------------------ what is shown

    async def _show(self, view: OutboxView) -> None:
        before, self._view = self._view, view
        self._switch.show(view.mode)
        self._sending.text = view.sending or (
            "No Learning Loop is set for this box: pictures are kept within their bounds." if view.loop is None else ""
        )
        self._sending.set_visibility(bool(self._sending.text))
        self._waiting.show(count(view.normal), f"{view.rate:.0f} sent a minute" if view.rate else "")
        self._first.show(count(view.priority))
        self._rejected.show(count(view.rejected))
        self._bytes.show(size(view.bytes))
        if before is None or before.last_error != view.last_error:
            self._errors.clear()
            self._errors.set_visibility(view.last_error is not None)
            if view.last_error is not None:
                with self._errors, banner("warning", "The last try to send failed", view.last_error):
                    pass
        if before is None or (before.tallies, before.since) != (view.tallies, view.since):
            self._tallies.clear()
            with self._tallies:
                for name, number in view.tallies:
                    fact(name, count(number))
                if view.since is not None:
                    fact("Counted since", view.since)
        ended = self._work.show(view.work)
        if ended is not None:
            self._wrong.say(ended.error or "")
            self._around.snackbar.say(outcome(ended))
        if before is None or _numbers(before) != _numbers(view) or ended is not None:
            await self._load()

    async def _load(self) -> None:
        """Show the page where the visitor is."""
        try:
            found = await self._outbox.page(self._folder, self._pages.start, PER_PAGE)
            if not found.items and len(self._pages.starts) > 1:  # what was there has gone
                self._pages.to_start()
                found = await self._outbox.page(self._folder, None, PER_PAGE)
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._pages.next = found.next
        self._items = {item.id: item for item in found.items}
        self._gallery.show([_thumb(item) for item in found.items])
        self._gallery.set_visibility(bool(found.items))
        self._pager.show(self._place_in_words(found))
        self._empty.clear()
        self._empty.set_visibility(not found.items)
        if not found.items:
            with (
                self._empty,
                empty(next(words for folder, _, words in FOLDERS if folder == self._folder), image="outbox"),
            ):
                pass
        self._picked(self._gallery.picked)

    def _place_in_words(self, found: OutboxPage) -> str:
        assert self._view is not None
        first = PER_PAGE * (len(self._pages.starts) - 1) + 1
        last, total = first + len(found.items) - 1, self._view.count(self._folder)
        order = "first to go first" if self._folder == "priority" else "newest first"
        return f"{count(first)} to {count(last)} of {count(max(last, total))}, {order}"

    def _picked(self, ids: Sequence[str]) -> None:
        some = bool(ids)
        self._words.text = f"{len(ids)} picked" if some else ""
        self._all.set_visibility(bool(self._items) and not some)
        self._delete.set_visibility(some)
        self._first_button.set_visibility(some and self._folder == "normal" and self._outbox.can.prioritise)
        rejected = self._folder == "rejected" and self._outbox.can.retry
        self._retry.set_visibility(some and rejected)
        assert self._view is not None
        total = self._view.count(self._folder)
        all_of_it = f"all {count(total)}" if total > 1 else "it"
        busy = self._view.work is not None and self._view.work.running
        self._delete_all.text, self._retry_all.text = f"Delete {all_of_it}", f"Send {all_of_it} again"
        for button, possible in ((self._delete_all, True), (self._retry_all, rejected)):
            button.set_visibility(possible and bool(self._items) and not some)
            button.enable(not busy)
        self._offer_zip(ids, total)

    def _offer_zip(self, ids: Sequence[str], total: int) -> None:
        export = self._outbox.can.export
        self._save.set_visibility(export is not None and bool(self._items))
        if export is None or self._view is None:
            return
        picked = [self._items[item_id] for item_id in ids if item_id in self._items]
        if picked:
            query = urlencode([("id", item.id) for item in picked])
            what, much = f"{count(len(picked))} picked", sum(item.bytes for item in picked)
        else:
            query = urlencode({"folder": self._folder})
            what, much = f"all {count(total)}", self._view.size(self._folder)
        self._save.text = f"Save {what} as a zip ({size(much)})"
        self._save.props["href"] = f"{export}?{query}"

    # ------------------------------------------------------------------ what can be done

    async def _choose_mode(self, mode: str) -> str | None:
        try:
            await self._outbox.set_mode(mode)
        except DetectorApplianceError as error:
            return str(error)
        self._outbox.feed.poke()
        return None

    async def _choose_folder(self, folder: str) -> str | None:
        self._folder = next(each for each, _, _ in FOLDERS if each == folder)
        self._pages.to_start()
        self._gallery.pick([])
        await self._load()
        return None

    def _pick_all(self) -> None:
        self._gallery.pick(list(self._items))

    async def _delete_picked(self) -> None:
        await self._delete_these(tuple(self._gallery.picked))

    async def _delete_these(self, ids: tuple[str, ...]) -> bool:
        if not ids:
            return False
        question = "Delete this picture?" if len(ids) == 1 else f"Delete {len(ids)} pictures?"
        if not await confirmed(
            question, "The Learning Loop will not get it, and nobody can bring it back.", yes="Delete"
        ):
            return False
        self._gallery.pick([])
        await self._do_with(ids, self._outbox.delete, "deleted")
        return True

    async def _ask_delete_all(self) -> None:
        assert self._view is not None
        total = self._view.count(self._folder)
        name = next(name for folder, name, _ in FOLDERS if folder == self._folder).lower()
        question = f"Delete all {count(total)} pictures under “{name}”?" if total != 1 else "Delete this picture?"
        if await confirmed(
            question,
            f"{size(self._view.size(self._folder))} are deleted. The Learning Loop will not get them, and nobody can bring "
            "them back.",
            yes="Delete all",
        ):
            await self._begin(self._outbox.delete_all(self._folder))

    async def _begin_retry_all(self) -> None:
        await self._begin(self._outbox.retry_all())

    async def _begin(self, work: Awaitable[None]) -> None:
        try:
            await work
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._wrong.say("")
        self._outbox.feed.poke()

    async def _do(self, deed: Callable[[tuple[str, ...]], Awaitable[int]], done: str) -> None:
        ids = tuple(self._gallery.picked)
        self._gallery.pick([])
        await self._do_with(ids, deed, done)

    async def _do_with(
        self, ids: tuple[str, ...], deed: Callable[[tuple[str, ...]], Awaitable[int]], done: str
    ) -> None:
        try:
            number = await deed(ids)
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._wrong.say("")
        self._around.snackbar.say(f"{number} {'picture' if number == 1 else 'pictures'} {done}.")
        self._outbox.feed.poke()
        await self._load()

    async def _open(self, item_id: str) -> None:
        item = self._items.get(item_id)
        if item is None:
            return
        sight = await self._outbox.sight(item_id)
        with in_front("width: min(96vw, 860px)") as dialog:
            heading(f"Picture of {item.when}")
            if sight is None:
                paragraph("It is not there any more: it was sent, or somebody deleted it.")
            else:
                Picture().show(sight.source, sight.width, sight.height, sight.found, described(sight.found))
                if sight.found:
                    FoundList().show(sight.found)
            with facts():
                fact("Why it is here", "; ".join(item.reasons) or "not told")
                fact("Tags", ", ".join(item.tags) or "none")
                fact("Size", size(item.bytes))
                if item.attempts:
                    fact("Tries to send it", str(item.attempts))
                if item.answer is not None:
                    fact("The Loop's answer" if item.folder == "rejected" else "The last try", item.answer)
            with ui.element("div").classes("actions"):
                Button("Delete", lambda: self._delete_open(item_id, dialog), kind="quiet danger")
                link("Save", item.picture, "button").props("download")
                Button("Close", dialog.close, kind="primary").props("autofocus")
        dialog.props["aria-label"] = f"Picture of {item.when}"
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _delete_open(self, item_id: str, dialog: ui.dialog) -> None:
        if await self._delete_these((item_id,)):
            dialog.close()


def _numbers(view: OutboxView) -> tuple[int, int, int, int]:
    return view.normal, view.priority, view.rejected, view.bytes


def _thumb(item: OutboxItem) -> Thumb:
    # Of a picture that waits, the last failure is that of all: the page says it once.
    remarks = ((item.answer, "error"),) if item.folder == "rejected" and item.answer is not None else ()
    return Thumb(item.id, item.source, f"picture of {item.when}", (item.when, *item.reasons), remarks)
