"""A box that says what it is told to, and remembers what was done to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from models.errors import DetectorApplianceError
from ui.kit.feed import Feed
from ui.kit.marks import Mark
from ui.ports import (
    AccessView,
    CameraSight,
    CamerasView,
    Condition,
    KeyRow,
    LogLevel,
    LogView,
    ModelRow,
    ModelsView,
    OutboxCan,
    OutboxFolder,
    OutboxItem,
    OutboxPage,
    OutboxView,
    Readings,
    SettingRow,
    SettingsView,
    Sight,
    Standing,
    SystemView,
)

T = TypeVar("T")

QUICK = 0.01
"""Seconds between two looks of a feed."""


class Told(Generic[T]):
    """A feed that tells what was put here last."""

    def __init__(self, name: str, value: T) -> None:
        self.value = value
        self.feed: Feed[T] = Feed(name, self._read, QUICK)

    async def _read(self) -> T:
        return self.value


class Deeds:
    """What was done, in order; `refusal` is raised instead, once it is set."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.refusal: str | None = None

    def do(self, *deed: Any) -> None:
        if self.refusal is not None:
            raise DetectorApplianceError(self.refusal)
        self.done.append(deed)


class FakeSeeing:
    """See `ui.ports.Seeing`."""

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.told: Told[tuple[CameraSight, ...]] = Told("recent", ())
        self.found: tuple[Mark, ...] = ()
        self.pictures: dict[str, bytes] = {}

    @property
    def recent(self) -> Feed[tuple[CameraSight, ...]]:
        return self.told.feed

    async def look(self, picture: bytes) -> Sight:
        self._deeds.do("look", picture)
        return Sight("own-1", "/pictures/seen/own/own-1", 640, 480, self.found, (("wait", 0.2), ("inference", 23.2)))

    async def look_at_sample(self) -> Sight:
        return await self.look(b"the sample")

    async def look_again(self, key: str) -> Sight:
        self._deeds.do("look again", key)
        return next(each.sight for each in self.told.value if each.sight.key == key)

    async def send(self, key: str) -> None:
        self._deeds.do("send", key)

    async def send_missed(self, key: str, name: str, box: tuple[int, int, int, int]) -> None:
        self._deeds.do("send missed", key, name, box)

    def categories(self) -> tuple[str, ...]:
        return ("bolt", "cat")

    async def jpeg(self, kind: str, key: str) -> bytes | None:
        return self.pictures.get(key)


class FakeModels:
    """See `ui.ports.Models`."""

    upload_url = "/api/v1/models"

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.told = Told("models", ModelsView("follow_loop", None, None, None))

    @property
    def feed(self) -> Feed[ModelsView]:
        return self.told.feed

    def say(self, **changes: Any) -> None:
        self.told.value = replace(self.told.value, **changes)

    async def set_mode(self, word: str) -> None:
        self._deeds.do("set mode", word)
        if word in ("follow_loop", "pause"):
            self.say(mode=word, chosen=None)
        else:
            self.say(mode="specific_version", chosen=word)

    async def roll_back(self) -> str:
        self._deeds.do("roll back")
        return "1.2"

    async def remove(self, key: str) -> None:
        self._deeds.do("remove", key)
        self.say(models=tuple(row for row in self.told.value.models if row.key != key))

    async def lock(self, seconds: float) -> None:
        self._deeds.do("lock", seconds)
        self.say(locked_seconds=seconds or None)


class FakeOutbox:
    """See `ui.ports.Outbox`."""

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.can = OutboxCan(export="/api/v1/outbox/export")
        self.told = Told("outbox", OutboxView("continuous_upload", 0, 0, 0, 0))
        self.items: list[OutboxItem] = []
        self.picture = b""

    @property
    def feed(self) -> Feed[OutboxView]:
        return self.told.feed

    def put(self, *items: OutboxItem) -> None:
        self.items += items
        self._count()

    def say(self, **changes: Any) -> None:
        self.told.value = replace(self.told.value, **changes)

    def _count(self) -> None:
        of = {
            folder: sum(item.folder == folder for item in self.items) for folder in ("priority", "normal", "rejected")
        }
        sizes = tuple((folder, sum(item.bytes for item in self.items if item.folder == folder)) for folder in of)
        self.say(**of, bytes=sum(item.bytes for item in self.items), sizes=sizes)

    async def page(self, folder: OutboxFolder, start: str | None, limit: int) -> OutboxPage:
        there = [item for item in self.items if item.folder == folder]
        first = next((index for index, item in enumerate(there) if item.id == start), 0)
        after = there[first + limit].id if len(there) > first + limit else None
        return OutboxPage(tuple(there[first : first + limit]), after)

    async def sight(self, item_id: str) -> Sight | None:
        item = next((each for each in self.items if each.id == item_id), None)
        return (
            None if item is None else Sight(item.id, item.picture, 640, 480, (Mark("cat", 0.41, (10, 20, 300, 200)),))
        )

    async def set_mode(self, mode: str) -> None:
        self._deeds.do("outbox mode", mode)
        self.say(mode=mode)

    async def delete(self, ids: tuple[str, ...]) -> int:
        self._deeds.do("delete", ids)
        self.items = [item for item in self.items if item.id not in ids]
        self._count()
        return len(ids)

    async def delete_all(self, folder: OutboxFolder) -> None:
        self._deeds.do("delete all", folder)

    async def retry(self, ids: tuple[str, ...]) -> int:
        return self._move("retry", ids, "normal")

    async def retry_all(self) -> None:
        self._deeds.do("retry all")

    async def prioritise(self, ids: tuple[str, ...]) -> int:
        return self._move("prioritise", ids, "priority")

    def _move(self, deed: str, ids: tuple[str, ...], folder: OutboxFolder) -> int:
        self._deeds.do(deed, ids)
        self.items = [replace(item, folder=folder) if item.id in ids else item for item in self.items]
        self._count()
        return len(ids)

    async def jpeg(self, item_id: str, small: bool) -> bytes | None:
        return self.picture or None


class FakeSystem:
    """See `ui.ports.System`."""

    support_url = "/api/v1/support"
    can_restart = True

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.told = Told("system", SystemView())
        self.log: list[tuple[LogLevel, str]] = []
        self._logs = Told("logs", LogView())

    @property
    def feed(self) -> Feed[SystemView]:
        return self.told.feed

    @property
    def logs(self) -> Feed[LogView]:
        return self._logs.feed

    def logged(self, level: LogLevel, text: str) -> None:
        self.log.append((level, text))
        self._logs.value = replace(self._logs.value, newest=len(self.log))

    async def lines(self, level: LogLevel, contains: str, limit: int) -> tuple[str, ...]:
        order = ("DEBUG", "INFO", "WARNING", "ERROR")
        found = [f"{of} {text}" for of, text in self.log if order.index(of) >= order.index(level) and contains in text]
        return tuple(found[-limit:])

    async def set_log_level(self, level: str) -> None:
        self._deeds.do("log level", level)
        self._logs.value = replace(self._logs.value, level=level)  # type: ignore[arg-type]

    async def restart(self) -> None:
        self._deeds.do("restart")


class FakeSettings:
    """See `ui.ports.Settings`."""

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.told = Told("settings", SettingsView())

    @property
    def feed(self) -> Feed[SettingsView]:
        return self.told.feed

    def put(self, *rows: SettingRow) -> None:
        self.told.value = replace(self.told.value, rows=rows)

    async def change(self, name: str, text: str) -> None:
        self._deeds.do("change", name, text)
        changed = {"value": text, "origin": "changed here", "changed_here": True}
        self.put(*(replace(row, **changed) if row.name == name else row for row in self.told.value.rows))  # type: ignore[arg-type]

    async def create_key(self, name: str) -> str:
        self._deeds.do("create key", name)
        self.told.value = replace(self.told.value, keys=(*self.told.value.keys, KeyRow(name, "22 Nov, 14:00:00")))
        return "da_shown-only-now"

    async def revoke_key(self, name: str) -> None:
        self._deeds.do("revoke key", name)
        self.told.value = replace(self.told.value, keys=tuple(key for key in self.told.value.keys if key.name != name))


class FakeCameras:
    """See `ui.ports.Cameras`."""

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.told = Told("cameras", CamerasView())

    @property
    def feed(self) -> Feed[CamerasView]:
        return self.told.feed

    async def rename(self, camera: str, name: str) -> str:
        self._deeds.do("rename", camera, name)
        before = next((row.name for row in self.told.value.rows if row.id == camera), "")
        rows = tuple(replace(row, name=name) if row.id == camera else row for row in self.told.value.rows)
        self.told.value = replace(self.told.value, rows=rows)
        return before


class FakeVisitor:
    """See `ui.ports.Visitor`."""

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.stands = Standing("You are on the box itself.")
        self.wrong: DetectorApplianceError | None = None

    def standing(self) -> Standing:
        return self.stands

    async def set_password(self, password: str, current: str) -> int:
        self._deeds.do("set password", password, current)
        if self.wrong is not None:
            raise self.wrong
        return 2

    async def end_others(self) -> int:
        self._deeds.do("end others")
        return 1


class FakeAccess:
    """See `ui.ports.Access`."""

    least = 8

    def __init__(self, deeds: Deeds) -> None:
        self._deeds = deeds
        self.told = Told("access", AccessView())
        self.who = FakeVisitor(deeds)

    @property
    def feed(self) -> Feed[AccessView]:
        return self.told.feed

    def say(self, **changes: Any) -> None:
        self.told.value = replace(self.told.value, **changes)

    def visitor(self, scope: Mapping[str, Any]) -> FakeVisitor:
        assert scope["type"] == "http"
        return self.who

    async def end(self, session: str) -> None:
        self._deeds.do("end", session)
        self.say(sessions=tuple(row for row in self.told.value.sessions if row.id != session))


class FakeBox:
    """See `ui.ports.Box`."""

    name = "robot-7"

    def __init__(self) -> None:
        self.deeds = Deeds()
        self.seeing = FakeSeeing(self.deeds)
        self.cameras = FakeCameras(self.deeds)
        self.models = FakeModels(self.deeds)
        self.outbox = FakeOutbox(self.deeds)
        self.system = FakeSystem(self.deeds)
        self.settings = FakeSettings(self.deeds)
        self.access = FakeAccess(self.deeds)
        self.said = Told("condition", Condition("Detecting with model 1.3 on Edge TPU · 24 pictures/s"))
        self.measured = Told("readings", Readings())

    @property
    def done(self) -> list[tuple[Any, ...]]:
        """What was done to the box, in order."""
        return self.deeds.done

    @property
    def condition(self) -> Feed[Condition]:
        return self.said.feed

    @property
    def readings(self) -> Feed[Readings]:
        return self.measured.feed

    async def trust(self, network: str) -> None:
        self.deeds.do("trust", network)

    async def distrust(self, network: str) -> None:
        self.deeds.do("distrust", network)


def row(version: str, **more: Any) -> ModelRow:
    """A model on the box."""
    given: dict[str, Any] = {
        "key": f"acme/bolts/litert/{version}",
        "version": version,
        "origin": "acme/bolts",
        "format": "litert",
        "size_bytes": 4_200_000,
        "resolution": 640,
        "categories": ("bolt", "nut", "washer"),
    }
    return ModelRow(**{**given, **more})


def item(number: int, folder: OutboxFolder = "normal", **more: Any) -> OutboxItem:
    """A picture in the outbox."""
    item_id = f"2026-11-22_14-{number // 60:02}-{number % 60:02}.000000"
    given: dict[str, Any] = {
        "when": f"22 Nov, 14:{number // 60:02}:{number % 60:02}",
        "bytes": 180_000,
        "source": f"/pictures/outbox/small/{item_id}",
        "picture": f"/pictures/outbox/whole/{item_id}",
        "reasons": ("the model was unsure of something new in it",),
        "tags": ("uncertain",),
    }
    return OutboxItem(item_id, folder, **{**given, **more})
