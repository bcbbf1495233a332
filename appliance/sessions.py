"""Who has logged in: sessions, each a signed cookie with a random token, listed in `DATA/sessions.json`.

Only hashes of the tokens are kept. A session ends when nobody uses it for a week, after a month, when somebody ends it, and
when somebody else changes the password.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import cookie_parser

from access import Evidence
from appliance.signing import Signer
from models.errors import StorageRefused
from models.files import FileSystem, refusal
from models.uninterrupted import in_thread

FILE_NAME = "sessions.json"
"""Name inside the data folder."""

COOKIE = "appliance_session"

IDLE_SECONDS = 7 * 24 * 3600.0
"""A session that nobody uses for so long is over."""

LONGEST_SECONDS = 30 * 24 * 3600.0
"""So is every session after this time."""

MAX_SESSIONS = 64
"""One more, and the one that was used the longest ago ends."""

WRITTEN_EVERY = 3600.0
"""Seconds between two times that the use of sessions is written to the disk, which wears out."""

_MAX_AGENT = 200  # characters
_MAX_FILE_SIZE = 1 << 20  # bytes

log = logging.getLogger(__name__)


class Session(BaseModel):
    """One login. Times are seconds since 1970; `agent` is what the browser calls itself."""

    model_config = ConfigDict(extra="ignore")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    opened: float = Field(allow_inf_nan=False)
    used: float = Field(allow_inf_nan=False)
    address: str = ""
    agent: str = ""

    @property
    def id(self) -> str:
        """What people and programs call it by; it opens nothing."""
        return self.sha256[:12]


class _SessionFile(BaseModel):
    version: Literal[1] = 1
    password: str
    sessions: Annotated[list[Session], Field(max_length=MAX_SESSIONS)] = []


@dataclass(frozen=True)
class _Place:
    path: Path
    files: FileSystem


class Sessions:
    """Opens, recognises and ends sessions; belongs to one event loop. `clock` is in seconds since 1970."""

    def __init__(self, path: Path, files: FileSystem, clock: Callable[[], float]) -> None:
        self._place = _Place(path, files)
        self._clock = clock
        self._signer: Signer | None = None
        self._fingerprint = ""
        self._sessions: dict[str, Session] = {}
        self._written = 0.0
        self._writing = asyncio.Lock()
        self._saving: asyncio.Task[None] | None = None

    async def start(self, secret: bytes, fingerprint: str) -> None:
        """Read what was open before a restart; sessions of another password are over."""
        self._signer, self._fingerprint = Signer(secret), fingerprint
        self._sessions = {each.sha256: each for each in await asyncio.to_thread(_load, self._place.path, fingerprint)}
        self._written = self._clock()

    async def close(self) -> None:
        """Write down when each was used last."""
        if self._saving is not None:
            await asyncio.wait([self._saving])
        if any(each.used > self._written for each in self._sessions.values()):
            await self._save_or_log()

    async def open(self, address: str, agent: str) -> str:
        """A new session; the value of its cookie. Where it cannot be stored it lasts until the next start."""
        assert self._signer is not None, "start comes first"
        token, now = secrets.token_urlsafe(24), self._clock()
        self._forget_ended()
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions.values(), key=lambda each: each.used).sha256]
        shown = "".join(letter for letter in agent[:_MAX_AGENT] if letter.isprintable())
        session = Session(sha256=_digest(token), opened=now, used=now, address=address, agent=shown)
        self._sessions[session.sha256] = session
        await self._save_or_log()
        return self._signer.sign(token)

    def find(self, evidence: Evidence) -> Session | None:
        """The session whose cookie came along, if it holds; that counts as its use."""
        value = presented(evidence)
        token = self._signer.read(value) if value is not None and self._signer is not None else None
        session = self._sessions.get(_digest(token)) if isinstance(token, str) else None
        if session is None:
            return None
        if not self._holds(session):
            del self._sessions[session.sha256]
            return None
        session.used = max(session.used, self._clock())
        if session.used - self._written >= WRITTEN_EVERY and (self._saving is None or self._saving.done()):
            self._written = session.used
            self._saving = asyncio.get_running_loop().create_task(self._save_or_log(), name="save sessions")
        return session

    def list(self) -> tuple[Session, ...]:
        """Those that hold, the one that was used last first."""
        self._forget_ended()
        return tuple(sorted(self._sessions.values(), key=lambda each: each.used, reverse=True))

    async def end(self, session_id: str) -> bool:
        """End a session, at once; False where there is none of this id.

        Raises `StorageRefused` where that cannot be stored: then it has ended, but would be back after a restart.
        """
        ended = [each.sha256 for each in self._sessions.values() if each.id == session_id]
        for sha256 in ended:
            del self._sessions[sha256]
        if ended:
            await self._save()
        return bool(ended)

    async def end_all(self, fingerprint: str | None = None, *, but: str | None = None) -> int:
        """End every session but the one of this id; how many have ended. Raises as `end`.

        With the `fingerprint` of another password none of them is back after a restart, stored or not.
        """
        self._forget_ended()
        kept = {key: each for key, each in self._sessions.items() if each.id == but}
        ended = len(self._sessions) - len(kept)
        self._sessions = kept
        if fingerprint is None:
            await self._save()
        else:
            self._fingerprint = fingerprint
            await self._save_or_log()
        return ended

    def ends_at(self, session: Session) -> float:
        """When it is over at the latest, seconds since 1970; a week without use ends it sooner."""
        return session.opened + LONGEST_SECONDS

    def _holds(self, session: Session) -> bool:
        # A clock that was set back, as at the start of a box without a battery, ends nothing.
        now = self._clock()
        return now - session.used <= IDLE_SECONDS and now <= self.ends_at(session)

    def _forget_ended(self) -> None:
        self._sessions = {key: each for key, each in self._sessions.items() if self._holds(each)}

    async def _save_or_log(self) -> None:
        try:
            await self._save()
        except StorageRefused as error:
            log.error("who has logged in is forgotten at the next start: %s", error)

    async def _save(self) -> None:
        async with self._writing:
            self._written = self._clock()
            file = _SessionFile(password=self._fingerprint, sessions=list(self._sessions.values()))
            await in_thread(_save, self._place, file.model_dump_json(indent=2).encode() + b"\n")


def presented(evidence: Evidence) -> str | None:
    """The value of our cookie, if one came along."""
    for text in evidence.texts(b"cookie"):
        value = cookie_parser(text).get(COOKIE)
        if value is not None:
            return value
    return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _load(path: Path, fingerprint: str) -> list[Session]:
    try:
        with path.open("rb") as file:
            found = _SessionFile.model_validate_json(file.read(_MAX_FILE_SIZE))
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be understood, so everybody has to log in again: %s", path, type(error).__name__)
        return []
    return found.sessions if secrets.compare_digest(found.password, fingerprint) else []


def _save(place: _Place, data: bytes) -> None:
    try:
        place.files.make_folders(place.path.parent)
        place.files.write_atomically(place.path, data)
        place.path.chmod(0o600)
    except OSError as error:
        raise refusal(error, "store who has logged in") from error
