"""What the pages need of the box: values to look at, feeds that push them, and what can be done.

What can be done raises `models.errors.DetectorApplianceError`, whose message is a sentence for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from ui.kit.feed import Feed
from ui.kit.marks import Mark

Severity = Literal["good", "notice", "warning", "error"]


# ---------------------------------------------------------------------- how the box is


@dataclass(frozen=True)
class Trouble:
    """Something that is not as it should be: why, and the way out; `path` is the page where that is done.

    `network` is what one would trust to end a refusal (CIDR), None where that is not the way out.
    """

    severity: Severity
    reason: str
    way_out: str = ""
    path: str | None = None
    network: str | None = None


@dataclass(frozen=True)
class Condition:
    """How the box is in one sentence, and what is wrong, the worst first."""

    sentence: str
    troubles: tuple[Trouble, ...] = ()

    @property
    def severity(self) -> Severity:
        """That of the worst trouble."""
        return self.troubles[0].severity if self.troubles else "good"


@dataclass(frozen=True)
class Readings:
    """What the box does and how it fares, one value a second, the newest last; None where nothing is known.

    `latency`: milliseconds of a picture by stage (wait, decode, inference, postprocess). `rate`: pictures a second.
    `cpu` and `memory`: share of all, percent; `accelerator`: share of the time in which it works. Temperatures: degrees
    Celsius.
    """

    rate: tuple[float | None, ...] = ()
    latency: tuple[tuple[str, tuple[float | None, ...]], ...] = ()
    cpu: tuple[float | None, ...] = ()
    memory: tuple[float | None, ...] = ()
    temperature: tuple[float | None, ...] = ()
    accelerator: tuple[float | None, ...] = ()
    accelerator_temperature: tuple[float | None, ...] = ()
    pictures: int = 0
    restarts: int = 0
    waiting: int = 0


# ---------------------------------------------------------------------- what it sees


@dataclass(frozen=True)
class Sight:
    """A picture that was looked at: where its JPEG is, the size in pixels that marks refer to, what was found, how long it
    took (milliseconds by stage). `key` tells it from all others.
    """

    key: str
    source: str
    width: int
    height: int
    found: tuple[Mark, ...]
    timings: tuple[tuple[str, float], ...] = ()

    @property
    def milliseconds(self) -> float:
        """All stages together."""
        return sum(value for _, value in self.timings)


@dataclass(frozen=True)
class CameraSight:
    """The latest picture of a camera. `camera` is its name for people, `when` seconds since 1970.

    `id` is what its robot calls it; empty where it says nothing, and then it cannot be named.
    """

    camera: str
    sight: Sight
    when: float
    id: str = ""


@dataclass(frozen=True)
class CameraRow:
    """A camera: what its robot calls it, what people call it (empty: nothing else), and when it was heard, in words."""

    id: str
    name: str
    heard: str


@dataclass(frozen=True)
class CamerasView:
    """Cameras that were heard lately or have a name. `locked`: why they cannot be named here, as a sentence."""

    rows: tuple[CameraRow, ...] = ()
    locked: str | None = None


class Cameras(Protocol):
    """What people call the cameras; to robots and the Loop they keep the name that they gave themselves."""

    @property
    def feed(self) -> Feed[CamerasView]: ...

    async def rename(self, camera: str, name: str) -> str:
        """Call the camera of this id so from now on; an empty name takes that back. The name before, empty where none."""


class Seeing(Protocol):
    """Looking at pictures, those of robots and one's own."""

    @property
    def recent(self) -> Feed[tuple[CameraSight, ...]]:
        """The latest picture of each camera, the camera that was heard last first."""

    async def look(self, picture: bytes) -> Sight:
        """Detect in a picture of one's own; it is kept for a while, so that it can be sent."""

    async def look_at_sample(self) -> Sight:
        """The same with a photograph that comes along, for whoever has no picture at hand."""

    async def look_again(self, key: str) -> Sight:
        """Take over a picture of a camera, as if it were one's own."""

    async def send(self, key: str) -> None:
        """Send a picture that was looked at to the Loop, with what was found in it."""

    async def send_missed(self, key: str, name: str, box: tuple[int, int, int, int]) -> None:
        """Send it with priority, as one in which the model missed something: a `name`, and where (pixels)."""

    def categories(self) -> tuple[str, ...]:
        """What the serving model knows."""

    async def jpeg(self, kind: str, key: str) -> bytes | None:
        """The bytes behind `Sight.source`; None if it is gone."""


# ---------------------------------------------------------------------- models

VersionMode = Literal["follow_loop", "pause", "specific_version"]


@dataclass(frozen=True)
class ModelRow:
    """One model on the box. `key` names it when it is to be used or removed; `resolution` is its larger side, pixels.

    `served`: when it served in words, the latest first; where it `serves`, the first of these goes on. `parity`: how near
    each of its weight files is to the model that it was converted from, in words.
    """

    key: str
    version: str
    origin: str
    format: str
    size_bytes: int
    resolution: int | None = None
    categories: tuple[str, ...] = ()
    serves: bool = False
    on_probation: bool = False
    last_good: bool = False
    ships_with_box: bool = False
    selectable: bool = True
    failure: str | None = None
    failed_when: str | None = None
    served: tuple[str, ...] = ()
    parity: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpdateProgress:
    """A model on its way into service. `share` is 0 to 1 where that is known."""

    version: str
    words: str
    share: float | None = None
    step: int = 0
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelsView:
    """Which models there are, and which one shall serve. Versions are text; None where there is none."""

    mode: VersionMode
    current: str | None
    target: str | None
    loop: str | None
    chosen: str | None = None
    models: tuple[ModelRow, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()
    failures: tuple[tuple[str, str, str], ...] = ()
    progress: UpdateProgress | None = None
    error: str | None = None
    standalone: bool = False
    locked_seconds: float | None = None
    rollback_to: str | None = None


class Models(Protocol):
    """The models on the box."""

    upload_url: str
    """Where a zip is sent to as a form with the field `file`."""

    @property
    def feed(self) -> Feed[ModelsView]: ...

    async def set_mode(self, word: str) -> None:
        """`follow_loop`, `pause`, or the key of a model."""

    async def roll_back(self) -> str:
        """Serve what was good before; returns its version."""

    async def remove(self, key: str) -> None:
        """Delete a model from the disk."""

    async def lock(self, seconds: float) -> None:
        """Change no model for so long; 0 ends that."""


# ---------------------------------------------------------------------- outbox

OutboxMode = Literal["continuous_upload", "stopped"]
OutboxFolder = Literal["priority", "normal", "rejected"]


LongWorkKind = Literal["delete", "retry"]


@dataclass(frozen=True)
class LongWork:
    """Something that takes a while with many pictures: how many of `total` are done, or were when it ended.

    `number` tells it from those before; `error` says why it ended early.
    """

    number: int
    kind: LongWorkKind
    done: int
    total: int
    running: bool = True
    error: str | None = None

    def at(self, done: int) -> LongWork:
        """The same, further on; of more than were counted in the beginning, too."""
        return replace(self, done=done, total=max(self.total, done))

    def ended(self, done: int, error: str | None) -> LongWork:
        """The same, over."""
        return replace(self, done=done, running=False, error=error)


@dataclass(frozen=True)
class OutboxView:
    """What waits for the Loop, and what became of the rest. `tallies`: name for people, number; since `since`.

    `rate`: pictures sent a minute, None where that is not known. `sending` says in words what goes on. `sizes`: bytes of
    the pictures in each folder. `work`: what is being done to many of them, or was done last.
    """

    mode: OutboxMode
    priority: int
    normal: int
    rejected: int
    bytes: int
    loop: str | None = None
    sending: str = ""
    last_error: str | None = None
    rate: float | None = None
    tallies: tuple[tuple[str, int], ...] = ()
    since: str | None = None
    sizes: tuple[tuple[OutboxFolder, int], ...] = ()
    work: LongWork | None = None

    @property
    def waiting(self) -> int:
        """Pictures to be sent."""
        return self.priority + self.normal

    def count(self, folder: OutboxFolder) -> int:
        """Pictures in a folder."""
        return {"priority": self.priority, "normal": self.normal, "rejected": self.rejected}[folder]

    def size(self, folder: OutboxFolder) -> int:
        """Bytes of the pictures in a folder."""
        return dict(self.sizes).get(folder, 0)


@dataclass(frozen=True)
class OutboxItem:
    """A picture in the outbox: why it was kept in words, its tags, and what the Loop said of it, if it did.

    `source` is the address of a small form, `picture` that of the whole. `when` is text for people.
    """

    id: str
    folder: OutboxFolder
    when: str
    bytes: int
    source: str
    picture: str
    reasons: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    attempts: int = 0
    answer: str | None = None


@dataclass(frozen=True)
class OutboxPage:
    """Some items, and where the next page begins; None on the last."""

    items: tuple[OutboxItem, ...] = field(default=())
    next: str | None = None


@dataclass(frozen=True)
class OutboxCan:
    """What this box can do with pictures in the outbox; pages offer nothing else.

    `export`: address of a zip, to which `?folder=` or `?id=` (repeated) is added.
    """

    retry: bool = True
    prioritise: bool = True
    export: str | None = None


class Outbox(Protocol):
    """Pictures that wait for the Loop."""

    can: OutboxCan

    @property
    def feed(self) -> Feed[OutboxView]: ...

    async def page(self, folder: OutboxFolder, start: str | None, limit: int) -> OutboxPage:
        """Items of a folder, the newest first; `start` is the `next` of the page before."""

    async def sight(self, item_id: str) -> Sight | None:
        """A picture with what the model had found in it; None if it is gone."""

    async def set_mode(self, mode: str) -> None: ...

    async def delete(self, ids: tuple[str, ...]) -> int:
        """Delete pictures; how many were there."""

    async def delete_all(self, folder: OutboxFolder) -> None:
        """Begin to delete all pictures of a folder; `OutboxView.work` tells how that goes."""

    async def retry(self, ids: tuple[str, ...]) -> int:
        """Send rejected pictures again."""

    async def retry_all(self) -> None:
        """Begin to send all rejected pictures again; `OutboxView.work` tells how that goes."""

    async def prioritise(self, ids: tuple[str, ...]) -> int:
        """Send them before all others."""

    async def jpeg(self, item_id: str, small: bool) -> bytes | None:
        """The bytes of a picture, or of a small form of it; None if it is gone."""


# ---------------------------------------------------------------------- the machine

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True)
class SystemView:
    """What the machine is: groups of facts, each a name and words for people. And what is wrong, the worst first."""

    facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    findings: tuple[Trouble, ...] = ()


@dataclass(frozen=True)
class LogView:
    """Number of the newest entry of the log, and the least level that is logged at all."""

    newest: int = 0
    level: LogLevel = "INFO"


class System(Protocol):
    """The machine below the box, and its log."""

    support_url: str
    """Where a zip is fetched that helps others to help; no secret is in it."""

    can_restart: bool

    @property
    def feed(self) -> Feed[SystemView]: ...

    @property
    def logs(self) -> Feed[LogView]: ...

    async def lines(self, level: LogLevel, contains: str, limit: int) -> tuple[str, ...]:
        """The last entries of the log of at least `level` in which `contains` stands; oldest first."""

    async def set_log_level(self, level: str) -> None:
        """Log everything from there on, until the next start."""

    async def restart(self) -> None:
        """End in good order and start anew; returns at once."""


# ---------------------------------------------------------------------- settings

SettingKind = Literal["text", "number", "list", "choice"]


@dataclass(frozen=True)
class SettingRow:
    """One setting, its value as text. It may be changed if it has a `group` and is not `locked`.

    `origin` says in words where the value comes from; `due` is the value that it will have from the next start on.
    """

    name: str
    label: str
    value: str
    origin: str
    description: str
    group: str = ""
    kind: SettingKind = "text"
    options: tuple[tuple[str, str], ...] = ()
    locked: bool = False
    changed_here: bool = False
    due: str | None = None


@dataclass(frozen=True)
class KeyRow:
    """An API key: who it is for, and when it was made."""

    name: str
    made: str


@dataclass(frozen=True)
class SettingsView:
    """All settings, those that may be changed first; API keys, or why they cannot be read; what is probably not meant; a
    sentence about some groups.
    """

    rows: tuple[SettingRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()
    warnings: tuple[str, ...] = ()
    keys_problem: str | None = None
    notes: tuple[tuple[str, str], ...] = ()


class Settings(Protocol):
    """What is in force."""

    @property
    def feed(self) -> Feed[SettingsView]: ...

    async def change(self, name: str, text: str) -> None:
        """Have this from now on, or from the next start on; an empty text takes the change back."""

    async def create_key(self, name: str) -> str:
        """Make an API key; it is told this once."""

    async def revoke_key(self, name: str) -> None:
        """Take it away."""


# ---------------------------------------------------------------------- access


@dataclass(frozen=True)
class SessionRow:
    """A login that holds: from where, with which browser in words, since when, and when it was seen last."""

    id: str
    address: str
    browser: str
    since: str
    seen: str


@dataclass(frozen=True)
class AccessView:
    """Whether there is a password, and who has logged in; `problem`: why nobody can, as a sentence."""

    claimed: bool = False
    sessions: tuple[SessionRow, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Standing:
    """Why a visitor may be here, as a sentence; the id of the visitor's own session, if there is one.

    `needs_current`: to set another password, this visitor has to know the one that holds.
    """

    sentence: str
    session: str | None = None
    needs_current: bool = False


class Visitor(Protocol):
    """Somebody who has a page open. Asked each time: it can change while the page is open."""

    def standing(self) -> Standing: ...

    async def set_password(self, password: str, current: str) -> int:
        """Set a password, which ends the sessions of all others; how many. Raises `WrongPassword`, `TooManyTries` about
        the `current` one, `InvalidInput` about the new one.
        """

    async def end_others(self) -> int:
        """End every session but one's own; how many."""


class Access(Protocol):
    """Who may come in."""

    least: int
    """Characters of a password."""

    @property
    def feed(self) -> Feed[AccessView]: ...

    def visitor(self, scope: Mapping[str, Any]) -> Visitor:
        """Who asks for a page; `scope` is that of the request (ASGI)."""

    async def end(self, session: str) -> None:
        """End a session; its open pages are told nothing more."""


# ---------------------------------------------------------------------- all of it


class Box(Protocol):
    """The box as the pages see it."""

    name: str
    """Its name among others."""

    @property
    def seeing(self) -> Seeing: ...

    @property
    def cameras(self) -> Cameras: ...

    @property
    def models(self) -> Models: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def system(self) -> System: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def access(self) -> Access: ...

    @property
    def condition(self) -> Feed[Condition]: ...

    @property
    def readings(self) -> Feed[Readings]: ...

    async def trust(self, network: str) -> None:
        """Let everybody in a network (CIDR) do everything, from now on and after a restart."""

    async def distrust(self, network: str) -> None:
        """Take that back."""
