"""`/system`: what the machine is, what is wrong with it, and its log."""

from __future__ import annotations

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.dialogs import confirmed
from ui.kit.fields import Field
from ui.kit.following import follow
from ui.kit.mode_switch import ModeSwitch, Option
from ui.kit.states import Wrong, banner
from ui.kit.tiles import fact, facts
from ui.kit.words import Button, Words, heading, link, paragraph
from ui.pages.places import Page, name_of, page
from ui.ports import Box, LogLevel, LogView, SystemView, Trouble

LINES = 100
"""Entries of the log that a page shows at most."""

LEVELS: tuple[tuple[LogLevel, str], ...] = (
    ("DEBUG", "Everything"),
    ("INFO", "From information on"),
    ("WARNING", "Warnings and errors"),
    ("ERROR", "Errors"),
)

SWITCH = (
    Option(
        "DEBUG",
        "All",
        "Everything is logged, until the next start. It is much; switch it back when it is no longer needed.",
    ),
    Option("INFO", "Usual", "What people want to know is logged."),
    Option("WARNING", "Warnings", "Only what is wrong, or soon will be, is logged."),
    Option("ERROR", "Errors", "Only what failed is logged."),
)


async def build(box: Box) -> None:
    """Build the page for one visitor."""
    async with page(box, "/system") as around:
        await _System(box, around).build()


class _System:
    """The page for one visitor."""

    def __init__(self, box: Box, around: Page) -> None:
        self._box = box
        self._system = box.system
        self._around = around
        self._findings: tuple[Trouble, ...] | None = None
        self._facts: dict[tuple[str, str], Words] = {}
        self._level: LogLevel = "INFO"
        self._contains = ""

    async def build(self) -> None:
        with ui.element("section").classes("section"):
            heading("What is wrong")
            self._found = ui.element("div").classes("stack")
        with ui.element("section").classes("section"):
            heading("The machine")
            self._groups = ui.element("div").classes("grid").style("--least: 300px")
        with ui.element("section").classes("section"):
            heading("The log")
            self._log_controls()
            self._log = Words("pre", "", "log")
            self._log.props('tabindex="0" role="log" aria-live="off" aria-label="Log"')
        with ui.element("section").classes("section"), ui.element("div").classes("grid few").style("--least: 300px"):
            self._help()
            self._restart_card()
        await follow(self._system.feed, self._show)
        await follow(self._system.logs, self._show_log)

    def _log_controls(self) -> None:
        with ui.element("div").classes("grid few").style("--least: 220px"):
            Field("Show", self._level, kind="select", options=LEVELS, on_change=self._choose_shown)
            Field("Containing", kind="search", on_change=self._choose_contains, at_once=True)
        with ui.element("details"):
            Words("summary", "How much is logged")
            with ui.element("div").classes("card"):
                self._switch = ModeSwitch("Log", SWITCH, self._choose_level)

    def _help(self) -> None:
        with ui.element("div").classes("card"):
            heading("Ask for help", 3)
            paragraph(
                "A zip of the settings, what is wrong, the versions and the last lines of the log, for whoever helps you. "
                "Passwords and keys are taken out.",
                "small muted",
            )
            with ui.element("div").classes("actions"):
                link("Save a support bundle", self._system.support_url, "button").props("download")

    def _restart_card(self) -> None:
        with ui.element("div").classes("card"):
            heading("Start anew", 3)
            paragraph(
                "Some settings count from the next start on. No model ever needs it."
                if self._system.can_restart
                else "This box was not started in a way that lets it start itself anew.",
                "small muted",
            )
            with ui.element("div").classes("actions"):
                self._restart_button = Button("Restart", self._restart)
                self._restart_button.enable(self._system.can_restart)
            self._wrong = Wrong()

    # ------------------------------------------------------------------ what is shown

    def _show(self, view: SystemView) -> None:
        if view.findings != self._findings:
            self._findings = view.findings
            self._found.clear()
            with self._found:
                for each in view.findings:
                    with banner(each.severity, each.reason, each.way_out):
                        if each.path is not None:
                            link(f"Go to {name_of(each.path)}", each.path, "button")
                if not view.findings:
                    with banner("good", "Nothing is wrong."):
                        pass
        shown = {(group, name): words for group, lines in view.facts for name, words in lines}
        if shown.keys() == self._facts.keys():
            for key, words in shown.items():
                self._facts[key].text = words
            return
        self._groups.clear()
        self._facts = {}
        with self._groups:
            for group, lines in view.facts:
                with ui.element("div").classes("card"):
                    heading(group, 3)
                    with facts():
                        for name, words in lines:
                            self._facts[group, name] = fact(name, words)

    async def _show_log(self, view: LogView) -> None:
        self._switch.show(view.level)
        await self._load_log()

    async def _load_log(self) -> None:
        lines = await self._system.lines(self._level, self._contains, LINES)
        # The newest on top: it is there without scrolling, and what is read below does not run away to the end.
        self._log.text = "\n".join(reversed(lines)) or "Nothing that fits was logged since the start."

    # ------------------------------------------------------------------ what can be done

    async def _choose_shown(self, level: str) -> None:
        self._level = next((each for each, _ in LEVELS if each == level), "INFO")
        await self._load_log()

    async def _choose_contains(self, text: str) -> None:
        self._contains = text.strip()
        await self._load_log()

    async def _choose_level(self, level: str) -> str | None:
        try:
            await self._system.set_log_level(level)
        except DetectorApplianceError as error:
            return str(error)
        self._system.logs.poke()
        return None

    async def _restart(self) -> None:
        if not await confirmed(
            "Start the box anew?",
            "For some seconds nothing is detected, and robots have to try again. Pictures that were acknowledged are kept. "
            "This page comes back by itself.",
            yes="Restart now",
        ):
            return
        try:
            await self._system.restart()
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            return
        self._wrong.say("")
        self._around.snackbar.say("The box starts anew. This page comes back by itself.")
