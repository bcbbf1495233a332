"""What is in force, as the page shows and changes it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, get_args, get_origin

from appliance import editable, overlay
from appliance.api_keys import FILE_NAME, ApiKey, ApiKeys
from appliance.dashboard.words import moment
from appliance.logs import Level
from appliance.services import Services
from appliance.settings import DEFAULT, OVERLAY_FILE, SettingInForce, Settings
from models.errors import DetectorApplianceError
from ui.kit.feed import Feed
from ui.ports import KeyRow, SettingKind, SettingRow, SettingsView

OWN_CARD = frozenset({"camera_names"})
"""Settings that are no row among the others: a card of their own shows and changes them."""

EVERY = 2.0
"""Seconds between two looks; nothing is read from the disk but the keys, and these only when they have changed."""


class SettingsOfPage:
    """See `ui.ports.Settings`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys = ApiKeys(services.settings.data_folder / FILE_NAME)
        self._feed: Feed[SettingsView] = Feed("settings", self._look, EVERY)

    @property
    def feed(self) -> Feed[SettingsView]:
        return self._feed

    async def _look(self) -> SettingsView:
        services = self._services
        settings, due = services.settings, dict(services.due)
        problem: str | None = None
        keys: tuple[ApiKey, ...] = ()
        try:
            keys = await asyncio.to_thread(self._keys.list)
        except DetectorApplianceError as error:
            problem = str(error)
        in_force = {row.name: row for row in settings.in_force()}
        rows = [
            _row(group, label, in_force[name], settings, due)
            for group, names in editable.GROUPS.items()
            for name, label in names.items()
            if name not in OWN_CARD
        ]
        rows += [_row("", name, row, settings, due) for name, row in in_force.items() if name not in editable.EDITABLE]
        return SettingsView(
            tuple(rows),
            tuple(KeyRow(key.name, _when(key.created)) for key in keys),
            tuple(settings.warnings),
            problem,
            tuple(editable.NOTES.items()),
        )

    async def change(self, name: str, text: str) -> None:
        await self._services.change_settings(editable.checked({name: value_of(name, text)}))
        self._feed.poke()

    async def create_key(self, name: str) -> str:
        key = await asyncio.to_thread(self._keys.create, name.strip())
        self._feed.poke()
        return key

    async def revoke_key(self, name: str) -> None:
        await asyncio.to_thread(self._keys.revoke, name)
        self._feed.poke()


def value_of(name: str, text: str) -> Any:
    """What was written into a field; nothing means: as if it had never been changed."""
    text = text.strip()
    if _kind(name) == "list":
        return [part.strip() for part in text.split(",") if part.strip()] or None
    return text or None


def _row(group: str, label: str, row: SettingInForce, settings: Settings, due: dict[str, Any]) -> SettingRow:
    name, overlay_file = row.name, str(settings.data_folder / OVERLAY_FILE)
    origin = row.origin
    here = origin == f"file {overlay_file}"
    words = "changed here" if here else "as it comes" if origin == DEFAULT else f"set by the {origin}"
    kind = _kind(name)
    return SettingRow(
        name=name,
        label=label,
        group=group,
        kind=kind,
        value=_text(row.value, kind),
        origin=words,
        description=f"{row.description[:1].upper()}{row.description[1:]}.",
        options=_options(name, kind),
        locked=overlay.locked_by(settings, name) is not None,
        changed_here=here,
        due=_text(due[name], kind) if name in due else None,
    )


def _kind(name: str) -> SettingKind:
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) is list:
        return "list"
    if annotation is bool:
        return "choice"
    if name == "log_level":
        return "choice"
    return "number" if {int, float} & {annotation, *_flat(annotation)} else "text"


def _flat(annotation: Any) -> set[Any]:
    """The types in a union and in what is annotated in it."""
    found = set(get_args(annotation))
    return found | {part for each in found for part in get_args(each)}


def _options(name: str, kind: SettingKind) -> tuple[tuple[str, str], ...]:
    if kind != "choice":
        return ()
    if name == "log_level":
        return tuple((level, level.capitalize()) for level in get_args(Level))
    return (("true", "Yes"), ("false", "No"))


def _text(value: Any, kind: SettingKind) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if kind == "list":
        return ", ".join(str(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _when(created: str) -> str:
    try:
        return moment(datetime.fromisoformat(created))
    except ValueError:
        return created
