"""`/settings`: what is in force, where it comes from, and what may be changed; API keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.dialogs import confirmed
from ui.kit.fields import Field
from ui.kit.following import follow
from ui.kit.states import banner
from ui.kit.tiles import fact
from ui.kit.words import Button, Words, chip, heading, link, paragraph
from ui.pages.access import AccessCards
from ui.pages.cameras import CameraNames
from ui.pages.places import Page, page
from ui.ports import Box, KeyRow, SettingRow, SettingsView


async def build(box: Box) -> None:
    """Build the page for one visitor."""
    async with page(box, "/settings") as around:
        await _Settings(box, around).build()


class _Settings:
    """The page for one visitor."""

    def __init__(self, box: Box, around: Page) -> None:
        self._box = box
        self._settings = box.settings
        self._around = around
        self._rows: dict[str, _Row] = {}
        self._keys: tuple[KeyRow, ...] | None = None
        self._others: tuple[SettingRow, ...] = ()
        self._warned: tuple[str, ...] = ()

    async def build(self) -> None:
        self._warnings = ui.element("div").classes("stack")
        self._due = ui.element("div").classes("stack")
        self._warnings.set_visibility(False)
        self._due.set_visibility(False)
        self._due_names: tuple[str, ...] = ()
        with ui.element("section").classes("section").props('id="access" tabindex="-1"'):
            heading("Access")
            with ui.element("div").classes("grid").style("--least: 420px"):
                await AccessCards(self._box, self._around).build()
        with ui.element("section").classes("section"):
            heading("What you can change")
            paragraph("A change is kept, and holds at once unless it says otherwise.", "small muted")
            self._groups = ui.element("div").classes("grid").style("--least: 320px")
        with ui.element("section").classes("section"):
            heading("Cameras")
            with ui.element("div").classes("card"):
                await CameraNames(self._box, self._around).build()
        with ui.element("section").classes("section"):
            heading("API keys")
            self._keys_card()
        with ui.element("section").classes("section"):
            heading("All else that is in force")
            paragraph(
                "These are set in the environment or in appliance.toml, and count from the next start on. Secrets are masked.",
                "small muted",
            )
            with ui.element("details"):
                Words("summary", "Show them")
                self._rest = ui.element("dl").classes("facts").style("padding: 4px 0")
        await follow(self._settings.feed, self._show)

    def _keys_card(self) -> None:
        with ui.element("div").classes("card"):
            paragraph(
                "With a key a program on another machine may do everything: it sends it as X-API-Key. Robots send none: trust "
                "their network instead.",
                "small muted",
            )
            self._key_list = ui.element("ul").classes("stack")
            self._new_key = ui.element("div")
            self._name = Field(
                "Name of a new key", hint="Letters, digits, dots and dashes; who will use it, for example."
            )
            with ui.element("div").classes("actions"):
                Button("Make a key", self._create_key)

    # ------------------------------------------------------------------ what is shown

    def _show(self, view: SettingsView) -> None:
        self._notes = dict(view.notes)
        editable = [row for row in view.rows if row.group]
        if [row.name for row in editable] != list(self._rows):
            self._build_groups(editable)
        for row in editable:
            self._rows[row.name].show(row)
        self._show_due(tuple(row.label for row in view.rows if row.due is not None))
        if view.warnings != self._warned:
            self._warned = view.warnings
            self._warnings.clear()
            self._warnings.set_visibility(bool(view.warnings))
            with self._warnings:
                for sentence in view.warnings:
                    with banner("warning", sentence):
                        pass
        others = tuple(row for row in view.rows if not row.group)
        if others != self._others:
            self._others = others
            self._rest.clear()
            with self._rest:
                for row in others:
                    later = f"; from the next start on: {row.due or 'none'}" if row.due is not None else ""
                    fact(row.name, f"{row.value or 'none'} ({row.origin}{later})")
        if view.keys != self._keys:
            self._show_keys(view.keys)
        if view.keys_problem is not None:
            self._name.wrong.say(view.keys_problem)

    def _build_groups(self, rows: list[SettingRow]) -> None:
        self._groups.clear()
        self._rows = {}
        with self._groups:
            for group in dict.fromkeys(row.group for row in rows):
                with ui.element("div").classes("card"):
                    heading(group, 3)
                    if group in self._notes:
                        paragraph(self._notes[group], "small")
                    for row in rows:
                        if row.group == group:
                            self._rows[row.name] = _Row(row, self._change)

    def _show_due(self, labels: tuple[str, ...]) -> None:
        if labels == self._due_names:
            return
        self._due_names = labels
        self._due.clear()
        self._due.set_visibility(bool(labels))
        if labels:
            with (
                self._due,
                banner("notice", f"From the next start on: {', '.join(labels)}.", "Until then the old values hold."),
            ):
                link("Go to System, where the box is restarted", "/system", "button")

    def _show_keys(self, keys: tuple[KeyRow, ...]) -> None:
        self._keys = keys
        self._key_list.clear()
        with self._key_list:
            for key in keys:
                with ui.element("li").classes("row between"):
                    Words("span", f"{key.name}, made {key.made}", "wrap")
                    Button("Revoke", lambda name=key.name: self._revoke(name), kind="quiet danger", about=key.name)
            if not keys:
                Words("li", "There are none.", "muted")

    # ------------------------------------------------------------------ what can be done

    async def _change(self, name: str, text: str) -> str | None:
        row = self._rows[name].row
        try:
            await self._settings.change(name, text)
        except DetectorApplianceError as error:
            return str(error)
        before = row.value if row.changed_here else ""
        self._around.snackbar.say(f"{row.label}: changed.", lambda: self._undo(name, before))
        return None

    async def _undo(self, name: str, before: str) -> None:
        wrong = ""
        try:
            await self._settings.change(name, before)
        except DetectorApplianceError as error:
            wrong = str(error)
        self._rows[name].field.wrong.say(wrong)

    async def _create_key(self) -> None:
        try:
            key = await self._settings.create_key(self._name.value)
        except DetectorApplianceError as error:
            self._name.wrong.say(str(error))
            return
        name, self._name.value = self._name.value, ""
        self._name.show("")
        self._name.wrong.say("")
        self._new_key.clear()
        with self._new_key, banner("good", f"The key {name.strip()} is made. It is shown only now: copy it."):
            Words("code", key, "wrap")
            Button("I have it", self._new_key.clear)

    async def _revoke(self, name: str) -> None:
        if await confirmed(
            f"Revoke the key {name}?",
            "Whoever uses it is turned away within a second. It cannot be brought back.",
            yes="Revoke",
        ):
            try:
                await self._settings.revoke_key(name)
            except DetectorApplianceError as error:
                self._name.wrong.say(str(error))


class _Row:
    """One setting that may be changed."""

    def __init__(self, row: SettingRow, change: Callable[[str, str], Awaitable[str | None]]) -> None:
        self.row = row
        self._change_setting = change
        hint = row.description + (" Several are separated by commas." if row.kind == "list" else "")
        kind = {"choice": "select", "number": "number"}.get(row.kind, "text")
        self.field = Field(
            row.label,
            row.value,
            kind=kind,
            hint=hint,
            options=row.options,
            locked=row.locked,
            on_change=self._changed,
        )
        with self.field, ui.element("div").classes("row"):
            self._origin = chip("")
            self._reset = Button("Back to before", self._back, kind="quiet", about=row.label)
        self.show(row)

    def show(self, row: SettingRow) -> None:
        """What is in force now; what a visitor is just writing stays until it is in force itself."""
        shown = row.due if row.due is not None else row.value
        before = self.row.due if self.row.due is not None else self.row.value
        if shown != before or self.field.value == shown:
            self.field.show(shown)
        self.row = row
        self._origin.text = f"locked: {row.origin}" if row.locked else row.origin
        if row.due is not None:
            self._origin.text = "after a restart"
        self._reset.set_visibility(row.changed_here and not row.locked)

    async def _changed(self, text: str) -> None:
        outcome = await self._change_setting(self.row.name, text)
        self.field.wrong.say(outcome or "")

    async def _back(self) -> None:
        await self._changed("")
