"""`/`: which Loop the annotator answers, how quickly, and what was left out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import FastAPI
from nicegui import ui

from annotator_companion.node import Annotator
from companions import condition, pages
from companions.condition import Condition, Trouble
from companions.frame import companion_page
from ui.kit.chart import Chart
from ui.kit.feed import Feed
from ui.kit.following import follow
from ui.kit.states import banner
from ui.kit.tiles import Tile
from ui.kit.words import chip, heading, paragraph

EVERY_S = 1.0
SHOWN = 120
"""Answers that the chart shows."""


@dataclass(frozen=True)
class View:
    """All that the page shows. `numbers`: name, value, hint. `latency`: milliseconds of the last answers, the newest last."""

    condition: Condition
    tools: tuple[str, ...] = ()
    numbers: tuple[tuple[str, str, str], ...] = ()
    latency: tuple[float, ...] = ()
    failure: str | None = None


class Watched(Protocol):
    """An annotator as its page sees it."""

    name: str
    feed: Feed[View]


class Watching:
    """See `Watched`: reads a node once a second while somebody looks."""

    def __init__(self, annotator: Annotator) -> None:
        self.name = annotator.name
        self.feed: Feed[View] = Feed("annotator", self._read, EVERY_S)
        self._annotator = annotator

    async def _read(self) -> View:
        node = self._annotator
        return view(
            node.status(),
            tuple(node.answers),
            node.last_failure,
            condition.of_connection(node.connection),
            "" if node.connection.client is None else str(node.connection.client.base_url),
        )


def view(
    status: Mapping[str, Any], answers: Sequence[float], failure: str | None, troubles: tuple[Trouble, ...], loop: str
) -> View:
    """What is shown of a node's status. Pure."""
    now = status["pages"]
    if troubles:
        sentence = "Nobody can draw with it now."
    elif now:
        sentence = f"Answers {_counted(now, 'page')} of {loop}"
    else:
        sentence = f"Waits for somebody to draw on a page of {loop}"
    typical, slowest = _latency(answers)
    return View(
        Condition(sentence, troubles),
        tools=tuple(status["tools"]),
        numbers=(
            ("Pages", str(now), f"{status['pages_forgotten']} forgotten because they were idle"),
            ("Typical answer", typical, f"of the last {len(answers)}" if answers else ""),
            ("1 of 20 is slower than", slowest, ""),
            ("Moves left out", str(status["moves_overtaken"]), "a later one was answered instead"),
            ("Masks stored", str(status["annotations_stored"]), ""),
            (
                "Pictures held",
                f"{status['picture_bytes'] / 1e6:.0f} MB",
                f"{status['pictures_fetched']} fetched so far",
            ),
            ("Failed answers", str(status["answers_failed"]), _given_up(status["tools_given_up"])),
        ),
        latency=tuple(round(each, 1) for each in answers[-SHOWN:]),
        failure=failure,
    )


def _latency(answers: Sequence[float]) -> tuple[str, str]:
    """The median, and what 19 of 20 stay below."""
    if not answers:
        return "-", "-"
    ordered = sorted(answers)
    return f"{statistics.median(ordered):.0f} ms", f"{ordered[int(0.95 * (len(ordered) - 1))]:.0f} ms"


def _given_up(tools: int) -> str:
    return f"{_counted(tools, 'tool')} did not come back" if tools else ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what if number == 1 else what + 's'}"


def mount(annotator: Annotator) -> Callable[[FastAPI], None]:
    """What puts the page onto the annotator's application."""
    watching = Watching(annotator)
    return pages.page("Annotator", lambda: build(watching))


async def build(watched: Watched) -> None:
    """Build the page for one visitor."""
    with companion_page("Annotator", watched.name) as around:
        numbers = ui.element("dl").classes("tiles wide")
        tiles: dict[str, Tile] = {}
        failing = ui.element("div")
        with ui.element("section").classes("section"), ui.element("div").classes("card"):
            chart = Chart("Time to answer", "ms", least_top=10)
            nothing = paragraph("No page has sent anything yet.", "muted")
        with ui.element("section").classes("section"):
            heading("Tools")
            paragraph(
                "A page begins with the first, and goes on to the next with the key t. Escape forgets the drawing.",
                "small muted",
            )
            tools = ui.element("div").classes("chips")
        before: View | None = None

        def show(shown: View) -> None:
            nonlocal before
            around.show(shown.condition)
            for name, value, hint in shown.numbers:
                if name not in tiles:
                    with numbers:
                        tiles[name] = Tile(name)
                tiles[name].show(value, hint)
            chart.set_visibility(bool(shown.latency))
            nothing.set_visibility(not shown.latency)
            chart.show({"Answers": shown.latency}, (f"{_counted(len(shown.latency), 'answer')} ago", "now"))
            if before is None or before.tools != shown.tools:
                tools.clear()
                with tools:
                    for tool in shown.tools:
                        chip(tool)
            if before is None or before.failure != shown.failure:
                failing.clear()
                failing.set_visibility(shown.failure is not None)
                if shown.failure is not None:
                    with failing, banner("notice", "The last input that could not be answered", shown.failure):
                        pass
            before = shown

        await follow(watched.feed, show)
