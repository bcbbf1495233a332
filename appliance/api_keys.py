"""API keys: named random secrets for those who are neither on this machine nor in a trusted network.

Only their sha256 is kept (a key is 256 random bits: nothing is gained by a slow hash), in one JSON file of the data
folder. The command line may change it beside a running server, which looks at it again within a second. A file that
cannot be understood lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InvalidInput, SettingsInvalid
from models.files import FILE_SYSTEM, FileSystem, refusal

FILE_NAME = "api_keys.json"
"""Name inside the data folder."""

PREFIX = "da_"
"""What every key begins with, so that people (and scanners for leaked secrets) recognise one."""

MAX_KEYS = 64
LOOK_AGAIN_AFTER = 1.0  # seconds; a revoked key may work that much longer

_KEY = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")  # 256 bits in base64url
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_MAX_FILE_SIZE = 1 << 20  # bytes; far more than MAX_KEYS keys take

logger = logging.getLogger(__name__)


class ApiKey(BaseModel):
    """What is kept of a key. `created` is ISO 8601 in UTC."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(pattern=f"^{_NAME}$")
    created: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="allow")

    version: Literal[1] = 1
    keys: Annotated[tuple[ApiKey, ...], Field(max_length=MAX_KEYS)] = ()


@dataclass(frozen=True)
class _Seen:
    """The file as it was read last. `stamp` changes whenever the file does."""

    stamp: tuple[int, ...]
    file: _KeyFile
    problem: str | None = None


class ApiKeys:
    """The keys in one file. Reading and writing block; `verify` does so only where the file has changed.

    `clock` gives seconds since 1970.
    """

    def __init__(self, path: Path, files: FileSystem = FILE_SYSTEM, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._files = files
        self._clock = clock
        self._writing = threading.Lock()
        self._seen: _Seen | None = None
        self._looked_at = 0.0

    def create(self, name: str) -> str:
        """Make a key and return it; it is not kept and cannot be shown again.

        Raises `InvalidInput` for a name that is taken or none, or one key too many, `StorageRefused` where it could not
        be stored, `SettingsInvalid` where the file cannot be understood.
        """
        if not re.fullmatch(_NAME, name):
            raise InvalidInput(
                f"{name!r} is no name for a key: up to 64 letters, digits, dots, dashes and underscores, a letter or "
                "digit first."
            )
        key = PREFIX + secrets.token_urlsafe(32)
        created = datetime.fromtimestamp(self._clock(), tz=timezone.utc).isoformat(timespec="seconds")
        with self._writing:
            keys = self._read_now().keys
            if any(other.name == name for other in keys):
                raise InvalidInput(f"There is a key {name!r} already: revoke it first, or take another name.")
            if len(keys) >= MAX_KEYS:
                raise InvalidInput(f"There are {MAX_KEYS} keys, which is the most there may be: revoke one first.")
            self._write((*keys, ApiKey(name=name, created=created, sha256=_digest(key))))
        return key

    def list(self) -> tuple[ApiKey, ...]:
        """The keys, oldest first. Raises `SettingsInvalid` where the file cannot be understood."""
        return self._read_now().keys

    def revoke(self, name: str) -> None:
        """Remove a key: who has it is a stranger from now on.

        Raises `InvalidInput` where there is none of that name, else as `create`.
        """
        with self._writing:
            keys = self._read_now().keys
            left = tuple(key for key in keys if key.name != name)
            if left == keys:
                known = ", ".join(key.name for key in keys) or "none at all"
                raise InvalidInput(f"There is no key {name!r}; there is {known}.")
            self._write(left)

    def verify(self, text: str) -> str | None:
        """The name of the key that `text` is, None if it is none. Takes as long for a near miss as for a far one.

        Raises `SettingsInvalid` where the file cannot be understood.
        """
        if not _KEY.fullmatch(text):
            return None
        digest, found = _digest(text), None
        for key in self._read_lately().keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key.name
        return found

    def _read_lately(self) -> _KeyFile:
        now = self._clock()
        if self._seen is None or not 0 <= now - self._looked_at < LOOK_AGAIN_AFTER:  # clocks are set back at times
            self._look(now)
        return self._understood()

    def _read_now(self) -> _KeyFile:
        self._look(self._clock())
        return self._understood()

    def _understood(self) -> _KeyFile:
        assert self._seen is not None
        if self._seen.problem is not None:
            raise SettingsInvalid(self._seen.problem)
        return self._seen.file

    def _look(self, now: float) -> None:
        """Read the file if it is another one than the last time."""
        stamp = self._stamp()
        if self._seen is None or stamp != self._seen.stamp:
            self._seen = self._read(stamp)
            if self._seen.problem is not None:
                logger.error("%s", self._seen.problem)
        self._looked_at = now

    def _stamp(self) -> tuple[int, ...]:
        """What tells one content of the file from another; it is looked at before the file is read."""
        try:
            status = self._path.stat()
        except OSError as error:
            return (error.errno or -1,)
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read(self, stamp: tuple[int, ...]) -> _Seen:
        nothing = _KeyFile()
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_FILE_SIZE + 1)
        except FileNotFoundError:
            return _Seen(stamp, nothing)
        except OSError as error:
            return _Seen(stamp, nothing, self._no_key_counts(f"it cannot be read ({error.strerror})"))
        if len(data) > _MAX_FILE_SIZE:
            return _Seen(stamp, nothing, self._no_key_counts("it is far too long"))
        try:
            found = _KeyFile.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return _Seen(stamp, nothing, self._no_key_counts(f"{where + ': ' if where else ''}{first['msg']}"))
        if len({key.name for key in found.keys}) < len(found.keys):
            return _Seen(stamp, nothing, self._no_key_counts("two keys have the same name"))
        return _Seen(stamp, found)

    def _no_key_counts(self, reason: str) -> str:
        return (
            f"No API key counts, because {self._path} is not as this program writes it: {reason}. Put a copy of it "
            "back, or remove it and make new keys."
        )

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        assert self._seen is not None
        file = self._seen.file.model_copy(update={"keys": keys})
        try:
            self._files.make_folders(self._path.parent)
            self._files.write_atomically(self._path, file.model_dump_json(indent=2).encode() + b"\n")
            self._path.chmod(0o600)  # nobody can use a hash, but who has keys is nobody else's business
        except OSError as error:
            raise refusal(error, "store the API keys") from error
        self._look(self._clock())


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("ascii")).hexdigest()
