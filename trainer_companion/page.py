"""`/`: what the trainer does, how well it learns, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fastapi import FastAPI, Request, Response
from nicegui import ui

from companions import pages
from companions.frame import Around, companion_page
from models.errors import DetectorApplianceError
from trainer_companion.node import Trainer
from trainer_companion.view import STEPS, Curve, Row, Shown, View
from trainer_companion.watching import PICTURES, Watching
from ui.kit.chart import Chart
from ui.kit.dialogs import confirmed
from ui.kit.feed import Feed
from ui.kit.following import follow
from ui.kit.picture import Picture, described
from ui.kit.states import Wrong, banner, empty
from ui.kit.table import Table
from ui.kit.tiles import Tile
from ui.kit.words import Button, Words, chip, heading, paragraph

_HELD_OUT = "{} on pictures held out"

COLUMNS = ("Category", "Right", "Wrong", "Missed", "Precision", "Recall")


class Watched(Protocol):
    """A trainer as its page sees it. `stop` and `abort` raise `DetectorApplianceError`."""

    name: str
    feed: Feed[View]

    async def stop(self) -> None:
        """End the training and keep what it has learnt."""
        ...

    async def abort(self) -> None:
        """Throw the training away."""
        ...


def mount(trainer: Trainer) -> Callable[[FastAPI], None]:
    """What puts the page onto the trainer's application."""
    watching = Watching(trainer)

    async def picture(request: Request) -> Response:
        number = request.path_params["number"]
        return pages.picture(await watching.picture(request.path_params["run"], number))

    def onto(app: FastAPI) -> None:
        app.add_route(f"{PICTURES}/{{run}}/{{number:int}}", picture, include_in_schema=False)
        pages.page("Trainer", lambda: build(watching))(app)

    return onto


async def build(watched: Watched) -> None:
    """Build the page for one visitor."""
    with companion_page("Trainer", watched.name) as around:
        await _Page(watched, around).build()


class _Page:
    """The page for one visitor."""

    def __init__(self, watched: Watched, around: Around) -> None:
        self._watched = watched
        self._around = around
        self._view: View | None = None
        self._tiles: dict[str, Tile] = {}
        self._pictures: list[tuple[Picture, Words]] = []

    async def build(self) -> None:
        self._nothing = ui.element("div")
        with self._nothing, empty("No training is under way", "One is begun in the Learning Loop.", "models"):
            pass
        with ui.element("section").classes("section") as self._about:
            self._build_now()
            self._numbers = ui.element("dl").classes("tiles wide")
        with ui.element("section").classes("section") as self._learning:
            heading("How it learns")
            with ui.element("div").classes("grid").style("--least: 400px"):
                with ui.element("div").classes("card"):
                    self._loss = Chart("Loss", "", least_top=0.1)
                with ui.element("div").classes("card"):
                    self._good = Chart(_HELD_OUT.format("mAP50"), "%", top=100)
        with ui.element("section").classes("section") as self._categories:
            heading("The best model, by category")
            self._table = Table("Right, wrong and missed by category, on pictures held out", COLUMNS)
        with ui.element("section").classes("section") as self._samples:
            heading("What the best model sees")
            self._seen_with = paragraph("", "small muted")
            self._gallery = ui.element("div").classes("grid").style("--least: 260px")
        with ui.element("section").classes("section") as self._said:
            heading("What the training says")
            self._warnings = ui.element("div").classes("stack")
            self._log = Words("pre", "", "log")
            self._log.props('tabindex="0" role="log" aria-live="off" aria-label="Log"')
        await follow(self._watched.feed, self._show)

    def _build_now(self) -> None:
        with ui.element("div").classes("card"):
            self._name = heading("")
            with ui.element("ol").classes("chips") as self._steps:
                self._chips = [self._chip(step) for step in STEPS]
            self._doing = paragraph("", "wrap")
            self._bar = ui.element("progress").props('max="100" aria-label="Progress of this step"')
            with ui.element("div").classes("actions") as self._deeds:
                self._stop = Button("Stop and keep the model", self._stop_it)
                self._abort = Button("Abort", self._abort_it, kind="quiet danger")
            self._wrong = Wrong()

    def _chip(self, step: str) -> Words:
        with ui.element("li"):
            return chip(step)

    # ------------------------------------------------------------------ what is shown

    def _show(self, view: View) -> None:
        before, self._view = self._view, view
        self._around.show(view.condition)
        self._nothing.set_visibility(view.name is None)
        self._about.set_visibility(view.name is not None)
        self._show_now(view)
        self._show_numbers(view.numbers)
        self._show_curve(view.curve)
        self._show_rows(view.rows)
        if before is None or (before.pictures, before.sight) != (view.pictures, view.sight):
            self._show_pictures(view.pictures, view.sight)
        if before is None or (before.warnings, before.lines) != (view.warnings, view.lines):
            self._show_said(view)

    def _show_now(self, view: View) -> None:
        active = view.step is not None
        name = view.name or ""
        self._name.text = f"{name[:1].upper()}{name[1:]}" if active else f"The last one: {name}"
        for element in (self._steps, self._doing, self._bar, self._deeds):
            element.set_visibility(active)
        for number, each in enumerate(self._chips):
            place = view.step if view.step is not None else -1
            severity = "good" if number < place else "notice" if number == place else None
            if each.props.get("data-severity") != severity:
                each.props["data-severity"] = severity
                each.props["aria-current"] = "step" if number == place else False
        parts = [f"{view.doing[:1].upper()}{view.doing[1:]}"]
        parts += [] if view.share is None else [f"{view.share:.0%}"]
        parts += [view.left] if view.left else []
        self._doing.text = " · ".join(parts)
        share = None if view.share is None else round(100 * view.share, 1)
        if self._bar.props.get("value") != share:
            if share is None:
                self._bar.props.pop("value", None)
                self._bar.update()
            else:
                self._bar.props["value"] = share
        self._stop.enable(view.can_stop)
        self._abort.enable(view.can_abort)

    def _show_numbers(self, numbers: tuple[tuple[str, str, str], ...]) -> None:
        names = [name for name, _, _ in numbers]
        if names != list(self._tiles):
            self._numbers.clear()
            with self._numbers:
                self._tiles = {name: Tile(name) for name in names}
        for name, value, hint in numbers:
            self._tiles[name].show(value, hint)
        self._numbers.set_visibility(bool(numbers))

    def _show_curve(self, curve: Curve) -> None:
        self._learning.set_visibility(bool(curve.loss))
        self._loss.show({"Loss": curve.loss}, (curve.begin, curve.end))
        name, values = ("Accuracy", curve.accuracy) if curve.accuracy else ("mAP50", curve.map50)
        self._good.rename(_HELD_OUT.format(name))
        self._good.show({name: values}, (curve.begin, curve.end))

    def _show_rows(self, rows: tuple[Row, ...]) -> None:
        self._categories.set_visibility(bool(rows))
        self._table.show([row.words for row in rows])

    def _show_pictures(self, pictures: tuple[Shown, ...], sight: str) -> None:
        self._samples.set_visibility(bool(pictures))
        self._seen_with.text = f"Pictures that it does not learn from, with what the model of {sight} finds in them."
        if len(pictures) != len(self._pictures):
            self._gallery.clear()
            with self._gallery:
                self._pictures = [self._picture() for _ in pictures]
        for (picture, words), shown in zip(self._pictures, pictures, strict=True):
            picture.show(shown.source, shown.width, shown.height, shown.marks, described(shown.marks))
            words.text = shown.words

    def _picture(self) -> tuple[Picture, Words]:
        with ui.element("div").classes("stack"):
            return Picture(), paragraph("", "small muted")

    def _show_said(self, view: View) -> None:
        self._said.set_visibility(bool(view.warnings or view.lines))
        self._warnings.clear()
        with self._warnings:
            for warning in view.warnings:
                with banner("warning", warning):
                    pass
        # The newest on top: it is there without scrolling, and what is read below does not run away to the end.
        self._log.text = "\n".join(reversed(view.lines))
        self._log.set_visibility(bool(view.lines))

    # ------------------------------------------------------------------ what can be done

    async def _stop_it(self) -> None:
        try:
            await self._watched.stop()
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._wrong.say("")
        self._around.snackbar.say("The training ends soon. Its best model is uploaded.")

    async def _abort_it(self) -> None:
        name = self._view.name if self._view is not None else None
        if not await confirmed(
            f"Abort {name}?",
            "What it has learnt is thrown away, and the Loop gets no model. To keep it, stop the training instead.",
            yes="Throw it away",
        ):
            return
        try:
            await self._watched.abort()
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._wrong.say("")
        self._around.snackbar.say("The training was thrown away.")
