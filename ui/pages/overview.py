"""`/`: how the box is, what it sees, and how it fares."""

from __future__ import annotations

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.chart import Chart
from ui.kit.following import follow
from ui.kit.states import Wrong, banner
from ui.kit.tiles import Tile, tiles
from ui.kit.words import Button, heading, link
from ui.pages.cameras import Cameras
from ui.pages.numbers import count
from ui.pages.places import Page, name_of, page
from ui.ports import Box, Condition, Readings, Trouble

SPAN = "2 min"


async def build(box: Box) -> None:
    """Build the page for one visitor."""
    async with page(box, "/") as around:
        await _troubles(box, around)
        with ui.element("section").classes("section"):
            with ui.element("div").classes("head"):
                heading("Seen last")
                link("Try a picture", "/live", "button")
            await Cameras(box, around).follow()
        with ui.element("section").classes("section"):
            heading("How it fares")
            await _readings(box)


async def _troubles(box: Box, around: Page) -> None:
    place = ui.element("div").classes("stack")
    shown: tuple[Trouble, ...] | None = None

    def show(condition: Condition) -> None:
        nonlocal shown
        if condition.troubles == shown:
            return
        shown = condition.troubles
        place.clear()
        place.set_visibility(bool(shown))
        with place:
            for trouble in condition.troubles:
                _trouble(box, around, trouble)

    await follow(box.condition, show)


def _trouble(box: Box, around: Page, trouble: Trouble) -> None:
    with banner(trouble.severity, trouble.reason, trouble.way_out):
        if trouble.path is not None:
            link(f"Go to {name_of(trouble.path)}", trouble.path, "button")
        if trouble.network is not None:
            network = trouble.network
            wrong: list[Wrong] = []

            async def trust() -> None:
                try:
                    await box.trust(network)
                except DetectorApplianceError as error:
                    wrong[0].say(str(error))
                    return
                around.snackbar.say(f"Everybody in {network} may do everything now.", lambda: box.distrust(network))

            Button(f"Trust {network}", trust, kind="primary")
            wrong.append(Wrong())


async def _readings(box: Box) -> None:
    with tiles():
        pictures, waiting, restarts = (
            Tile("Pictures so far"),
            Tile("In the queue"),
            Tile("Restarts"),
        )
    with ui.element("div").classes("grid few").style("--least: 240px"):
        rate, latency, load, accelerator, temperature = (
            _chart("Rate", "/s"),
            _chart("Time for a picture", "ms", stacked=True, least_top=10),
            _chart("Processor and memory", "%", top=100),
            _chart("Accelerator", "%", top=100),
            _chart("Temperature", "°C", top=100),
        )

    def show(readings: Readings) -> None:
        pictures.show(count(readings.pictures))
        waiting.show(count(readings.waiting))
        restarts.show(count(readings.restarts))
        rate.show({"Pictures": readings.rate})
        latency.show(dict(readings.latency))
        load.show({"Processor": readings.cpu, "Memory": readings.memory})
        _show_known(accelerator, {"In use": readings.accelerator})
        _show_known(
            temperature, {"Hottest part": readings.temperature, "Accelerator": readings.accelerator_temperature}
        )

    await follow(box.readings, show)


def _show_known(chart: Chart, lines: dict[str, tuple[float | None, ...]]) -> None:
    """Lines of which something is known; without any the whole card is not there."""
    known = {name: values for name, values in lines.items() if any(value is not None for value in values)}
    chart.parent_slot.parent.set_visibility(bool(known))  # type: ignore[union-attr]  # it is in a card
    chart.show(known)


def _chart(label: str, unit: str, *, stacked: bool = False, least_top: float = 1.0, top: float | None = None) -> Chart:
    with ui.element("div").classes("card"):
        return Chart(label, unit, SPAN, stacked=stacked, least_top=least_top, top=top)
