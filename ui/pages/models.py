"""`/models`: which model serves, which one shall, and all that are on the box."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.dialogs import confirmed
from ui.kit.file_drop import FileDrop
from ui.kit.following import follow
from ui.kit.mode_switch import ModeSwitch, Option
from ui.kit.states import Wrong, banner, empty
from ui.kit.tiles import Tile, fact, facts, tiles
from ui.kit.words import Button, Words, chip, heading, paragraph
from ui.pages.numbers import duration, size
from ui.pages.places import Page, page
from ui.ports import Box, ModelRow, ModelsView, UpdateProgress

HOUR = 3600.0

MODES = (
    Option("follow_loop", "Follow the Loop", "What the Learning Loop deploys is fetched, checked and then serves."),
    Option("pause", "Pause", "Nothing changes by itself, whatever the Learning Loop deploys."),
    Option("specific_version", "This version", "The version that was chosen serves until somebody says otherwise."),
)


async def build(box: Box) -> None:
    """Build the page for one visitor."""
    async with page(box, "/models") as around:
        await _Models(box, around).build()


class _Models:
    """The page for one visitor."""

    def __init__(self, box: Box, around: Page) -> None:
        self._models = box.models
        self._around = around
        self._view: ModelsView | None = None

    async def build(self) -> None:
        with ui.element("div").classes("split"):
            with ui.element("section").classes("section"):
                with ui.element("div").classes("card"):
                    self._switch = ModeSwitch("Which model serves", MODES, self._choose_mode)
                    self._note = paragraph("", "small muted")
                self._progress = ui.element("div")
                self._errors = ui.element("div").classes("stack")
                with tiles():
                    self._current, self._target, self._loop = Tile("Serves"), Tile("Shall serve"), Tile("In the Loop")
            with ui.element("section").classes("section"), ui.element("div").classes("card"):
                heading("By hand")
                self._back = Button("Roll back", self._roll_back)
                self._back_words = paragraph("", "small muted")
                self._lock = Button("Change no model for an hour", self._toggle_lock, image="lock")
                self._lock_words = paragraph("", "small muted")
                self._wrong = Wrong()
        with ui.element("section").classes("section"):
            heading("On this box")
            self._list = ui.element("div").classes("grid").style("--least: 300px")
            self._broken = ui.element("div").classes("stack")
        with ui.element("section").classes("section"):
            heading("Add a model")
            FileDrop(
                self._models.upload_url,
                "Choose a zip",
                accept=".zip,application/zip",
                hint="A zip of model.json and weights. It is checked, and does not serve before you say so.",
                working="The box checks",
                on_done=self._added,
            )
        await follow(self._models.feed, self._show)

    # ------------------------------------------------------------------ what is shown

    def _show(self, view: ModelsView) -> None:
        before, self._view = self._view, view
        self._switch.show(view.mode)
        self._note.text = "This box has no Learning Loop: models are added by hand." if view.standalone else ""
        self._note.set_visibility(view.standalone)
        self._current.show(view.current or "none")
        self._target.show(view.target or "–")  # noqa: RUF001
        self._loop.show(view.loop or "–", "no Learning Loop set" if view.standalone else "")  # noqa: RUF001
        self._back.enable(view.rollback_to is not None)
        self._back.text = f"Roll back to {view.rollback_to}" if view.rollback_to else "Roll back"
        self._back_words.text = (
            "The model that served well before takes over, and stays until you choose otherwise."
            if view.rollback_to
            else "There is no earlier model to go back to."
        )
        locked = view.locked_seconds
        self._lock.text = "Allow changes again" if locked else "Change no model for an hour"
        self._lock_words.text = (
            f"No model is changed for another {duration(locked)}."
            if locked
            else "For work during which nothing may change. It ends by itself."
        )
        if before is None or (before.progress, before.error) != (view.progress, view.error):
            self._show_progress(view.progress)
            self._show_error(view)
        if before is None or (before.models, before.broken, before.failures) != (
            view.models,
            view.broken,
            view.failures,
        ):
            self._show_models(view)

    def _show_progress(self, progress: UpdateProgress | None) -> None:
        self._progress.clear()
        self._progress.set_visibility(progress is not None)
        if progress is None:
            return
        with self._progress, ui.element("div").classes("card").props('role="status"'):
            heading(f"Version {progress.version} is on its way")
            if progress.steps:
                with ui.element("ol").classes("chips"):
                    for number, step in enumerate(progress.steps):
                        done = "good" if number < progress.step else "notice" if number == progress.step else None
                        with ui.element("li"):
                            chip(step, done).props["aria-current"] = "step" if number == progress.step else False
            paragraph(progress.words)
            bar = ui.element("progress").props('max="100" aria-label="Progress"')
            if progress.share is not None:
                bar.props["value"] = round(100 * progress.share)

    def _show_error(self, view: ModelsView) -> None:
        self._errors.clear()
        if view.error is not None:
            with self._errors, banner("warning", view.error, "What served before serves on."):
                pass

    def _show_models(self, view: ModelsView) -> None:
        self._list.clear()
        with self._list:
            for row in view.models:
                self._card(row)
            if not view.models:
                with empty("There is no model on this box", "Add one below.", "models"):
                    pass
        self._broken.clear()
        with self._broken:
            for version, reason, when in view.failures:
                with banner("warning", f"Version {version} was refused: {reason}", f"That was {when}."):
                    pass
            for folder, reason in view.broken:
                with banner("warning", f"There is something in {folder} that is no model", reason):
                    pass

    def _card(self, row: ModelRow) -> None:
        with ui.element("article").classes("card"):
            with ui.element("div").classes("row between"):
                Words("h3", row.version, "number large")
                with ui.element("div").classes("chips"):
                    for text, severity in _remarks(row):
                        chip(text, severity)
            with facts():
                fact("From", row.origin)
                fact("Format", row.format)
                fact("Size", size(row.size_bytes))
                if row.resolution is not None:
                    fact("Resolution", f"{row.resolution} pixels")
                fact("Knows", f"{len(row.categories)} categories" if row.categories else "not told")
                if row.served:
                    fact("Serves" if row.serves else "Served", row.served[0])
            if row.categories:
                with ui.element("details"):
                    Words("summary", "What it knows").props["aria-label"] = f"What version {row.version} knows"
                    paragraph(", ".join(row.categories), "small wrap")
            if row.parity:
                with ui.element("details"):
                    Words("summary", "Compared with its source").props["aria-label"] = (
                        f"Version {row.version} compared with its source"
                    )
                    for line in row.parity:
                        paragraph(line, "small wrap")
            if len(row.served) > 1:
                with ui.element("details"):
                    Words("summary", "When it served before").props["aria-label"] = (
                        f"When version {row.version} served before"
                    )
                    for period in row.served[1:]:
                        paragraph(period, "small")
            if row.failure is not None:
                with banner("warning", row.failure, f"That was {row.failed_when}." if row.failed_when else ""):
                    pass
            wrong = Wrong()
            with ui.element("div").classes("actions"):
                if row.selectable and not (row.serves and self._view and self._view.mode == "specific_version"):
                    text = "Stay with it" if row.serves else "Use"
                    Button(
                        text,
                        lambda: self._use(row, wrong),
                        about=f"version {row.version}",
                        kind="primary" * (not row.serves),
                    )
                if not row.ships_with_box and not row.serves:
                    Button(
                        "Remove", lambda: self._remove(row, wrong), kind="quiet danger", about=f"version {row.version}"
                    )
            if not row.selectable:
                paragraph("It belongs to another project than this box, so it cannot serve.", "small muted")

    # ------------------------------------------------------------------ what can be done

    async def _choose_mode(self, mode: str) -> str | None:
        view = self._view
        word = mode
        if mode == "specific_version":
            serving = next((row for row in view.models if row.serves), None) if view else None
            if serving is None:
                return "No model serves that could be kept. Choose one below."
            word = serving.key
        before = _word(view)
        error = await _tried(self._models.set_mode(word))
        if error is None:
            self._models.feed.poke()
            self._around.snackbar.say(f"{_mode_in_words(mode)}.", self._back_to(before))
        return error

    def _back_to(self, word: str | None) -> Callable[[], Awaitable[None]] | None:
        if word is None:
            return None

        async def back() -> None:
            self._wrong.say(await _tried(self._models.set_mode(word)) or "")
            self._models.feed.poke()

        return back

    async def _use(self, row: ModelRow, wrong: Wrong) -> None:
        before = _word(self._view)
        error = await _tried(self._models.set_mode(row.key))
        wrong.say(error or "")
        if error is None:
            self._models.feed.poke()
            self._around.snackbar.say(f"Version {row.version} shall serve.", self._back_to(before))

    async def _remove(self, row: ModelRow, wrong: Wrong) -> None:
        sure = await confirmed(
            f"Remove version {row.version}?",
            f"{size(row.size_bytes)} are deleted from the disk. It can come back only from where it came.",
            yes="Remove it",
        )
        if sure:
            wrong.say(await _tried(self._models.remove(row.key)) or "")
            self._models.feed.poke()

    async def _roll_back(self) -> None:
        before = _word(self._view)
        try:
            version = await self._models.roll_back()
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._wrong.say("")
        self._models.feed.poke()
        self._around.snackbar.say(f"Version {version} shall serve again.", self._back_to(before))

    async def _toggle_lock(self) -> None:
        locked = self._view is not None and bool(self._view.locked_seconds)
        self._wrong.say(await _tried(self._models.lock(0.0 if locked else HOUR)) or "")
        self._models.feed.poke()

    def _added(self, good: bool) -> None:
        if good:
            self._models.feed.poke()
            self._around.snackbar.say("The model is on this box. Press Use to have it serve.")


async def _tried(doing: Awaitable[None]) -> str | None:
    """None where it was done, else the sentence that says why not."""
    try:
        await doing
    except DetectorApplianceError as error:
        return str(error)
    return None


def _word(view: ModelsView | None) -> str | None:
    """What would bring back the mode that a view shows."""
    if view is None:
        return None
    return view.chosen if view.mode == "specific_version" else view.mode


def _mode_in_words(mode: str) -> str:
    return next(option.label for option in MODES if option.value == mode)


def _remarks(row: ModelRow) -> list[tuple[str, str | None]]:
    remarks: list[tuple[str, str | None]] = []
    if row.serves:
        remarks.append(("serves, on probation", "notice") if row.on_probation else ("serves", "good"))
    if row.last_good and not row.serves:
        remarks.append(("good before", "notice"))
    if row.failure is not None:
        remarks.append(("failed", "warning"))
    if row.ships_with_box:
        remarks.append(("came with the box", None))
    return remarks
