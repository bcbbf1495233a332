"""`/`: what the converter does, what came of it, and what cannot be converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fastapi import FastAPI
from nicegui import ui

from companions import condition, pages
from companions.frame import Around, companion_page
from converter_companion import view
from converter_companion.node import ConverterNode
from converter_companion.view import Failed, Recent, Unfit, View
from models.errors import DetectorApplianceError
from ui.kit.feed import Feed
from ui.kit.following import follow
from ui.kit.states import Wrong, banner, empty
from ui.kit.table import Table
from ui.kit.words import Button, chip, heading, paragraph

EVERY_S = 1.0


class Watched(Protocol):
    """A converter as its page sees it."""

    name: str
    feed: Feed[View]

    async def try_again(self, key: str) -> None:
        """Try a conversion again that failed. Raises `DetectorApplianceError`."""
        ...


class Watching:
    """See `Watched`: reads a node once a second while somebody looks."""

    def __init__(self, node: ConverterNode) -> None:
        self.name = node.settings.node_name
        self.feed: Feed[View] = Feed("converter", self._read, EVERY_S)
        self._node = node

    async def try_again(self, key: str) -> None:
        """See `Watched`."""
        await self._node.try_again(key)
        self.feed.poke()

    async def _read(self) -> View:
        node = self._node
        current, remembered = node.current, node.memory.failures
        troubles = condition.of_connection(node.connection)
        return View(
            view.condition(current, node.looked_at, node.status()["failed"], node.trouble, troubles),
            converting=None if current is None else current.task.words,
            doing="" if current is None else current.doing,
            share=0.0 if current is None else current.share,
            recent=view.recent(node.recent),
            failures=view.failures(remembered),
            unfit=view.unfit(remembered),
        )


def mount(node: ConverterNode) -> Callable[[FastAPI], None]:
    """What puts the page onto the converter's application."""
    watching = Watching(node)
    return pages.page("Converter", lambda: build(watching))


async def build(watched: Watched) -> None:
    """Build the page for one visitor."""
    with companion_page("Converter", watched.name) as around:
        await _Page(watched, around).build()


class _Page:
    """The page for one visitor."""

    def __init__(self, watched: Watched, around: Around) -> None:
        self._watched = watched
        self._around = around
        self._view: View | None = None

    async def build(self) -> None:
        with ui.element("div").classes("card") as self._now:
            self._name = heading("")
            self._doing = paragraph("", "wrap")
            self._bar = ui.element("progress").props('max="100" aria-label="Progress of the conversion"')
        with ui.element("section").classes("section") as self._failing:
            heading("What cannot be converted")
            paragraph(
                "Each is tried again by itself when the model, the pictures, the tools or the limits change.",
                "small muted",
            )
            self._failures = ui.element("div").classes("stack")
            self._wrong = Wrong()
        with ui.element("section").classes("section"):
            heading("What was converted")
            self._recent = ui.element("div").classes("stack")
        with ui.element("section").classes("section") as self._not_for:
            heading("Not for this network")
            paragraph("Nothing is wrong with these models: their networks become other formats.", "small muted")
            self._unfit = ui.element("div").classes("stack")
        await follow(self._watched.feed, self._show)

    def _show(self, shown: View) -> None:
        before, self._view = self._view, shown
        self._around.show(shown.condition)
        self._now.set_visibility(shown.converting is not None)
        if shown.converting is not None:
            self._name.text = f"Converting {shown.converting}"
            self._doing.text = f"{shown.doing[:1].upper()}{shown.doing[1:]} · {shown.share:.0%}".removeprefix(" · ")
            self._bar.props["value"] = round(100 * shown.share)
        if before is None or before.failures != shown.failures:
            self._show_failures(shown.failures)
        if before is None or before.unfit != shown.unfit:
            self._show_unfit(shown.unfit)
        if before is None or before.recent != shown.recent:
            self._show_recent(shown.recent)

    def _show_failures(self, failures: tuple[Failed, ...]) -> None:
        self._failing.set_visibility(bool(failures))
        self._failures.clear()
        with self._failures:
            for each in failures:
                self._failure(each)

    def _failure(self, failed: Failed) -> None:
        async def try_again() -> None:
            try:
                await self._watched.try_again(failed.key)
            except DetectorApplianceError as error:
                self._wrong.say(str(error))
                return
            self._wrong.say("")
            self._around.snackbar.say("It is tried again at the next look, which comes at once.")

        with banner("warning", failed.title, f"{failed.reason} ({failed.when})"):
            Button("Try again", try_again, about=failed.title)

    def _show_unfit(self, unfit: tuple[Unfit, ...]) -> None:
        self._not_for.set_visibility(bool(unfit))
        self._unfit.clear()
        with self._unfit:
            for each in unfit:
                with ui.element("div").classes("card"):
                    paragraph(each.reason, "wrap")
                    for title in each.titles:
                        paragraph(title, "small muted wrap")

    def _show_recent(self, recent: tuple[Recent, ...]) -> None:
        self._recent.clear()
        with self._recent:
            for each in recent:
                _conversion(each)
            if not recent:
                with empty(
                    "Nothing was converted since the start",
                    "Models that lack a format are found by themselves, in every project of the Loop.",
                    "models",
                ):
                    pass


def _conversion(each: Recent) -> None:
    with ui.element("div").classes("card"):
        with ui.element("div").classes("row between"):
            heading(each.title, 3, "wrap")
            chip("Converted" if each.reason is None else "Not converted", "good" if each.reason is None else "error")
        paragraph(each.when, "small muted")
        if each.reason is not None:
            paragraph(each.reason, "wrap")
        if each.rows:
            paragraph(each.compared, "small muted wrap")
            Table(f"Comparison of {each.title}", each.columns).show(each.rows)
