"""The people of the loop: names, argon2 hashes of their passwords, and whether they administrate.

The table is read at the start and whenever this process changes it, so that who somebody is can be told without asking
the database. Hashing takes a good part of a second and runs in threads, two at a time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from argon2 import PasswordHasher
from sqlalchemy import Connection, delete, func, insert, select, update

from appliance.hashing import Hashing, check_password
from appliance.loop_server.db import Database
from appliance.loop_server.tables import users, written
from models.errors import AlreadyInLoop, InvalidInput, LoopBusy, NotInLoop, TooManyTries

_T = TypeVar("_T")

Role = Literal["admin", "user"]

MAX_TEXT = 255  # characters of a name or a password
MAX_USERS = 10_000
FIRST = "admin"
"""Name of the first user where nobody says another."""


@dataclass(frozen=True)
class User:
    """Somebody who can log in. `fingerprint` changes with the password."""

    name: str
    role: Role
    created: str
    password_hash: str

    @property
    def fingerprint(self) -> str:
        """Ties a session to the password that opened it."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]


class Users:
    """The users of one loop. `now` is the time of day."""

    def __init__(self, database: Database, now: Callable[[], datetime], hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._now = now
        self._hashing = Hashing(hasher)
        self._known: dict[str, User] = {}
        self._nobodys_hash: str | None = None

    async def start(self, username: str | None, password: str | None) -> str | None:
        """Read the table; the first time, make the first user. Returns the password that was made up for `admin`."""
        if await self._database.read(_count) == 0:
            given = username if username and password else None
            made_up = None if given else secrets.token_urlsafe(12)
            hashed = await self._hash(password if given and password else made_up or "")
            row = {"name": given or FIRST, "password_hash": hashed, "role": "admin", "created": written(self._now())}
            await self._database.write(lambda connection: connection.execute(insert(users), row))
            await self._reload()
            return made_up
        await self._reload()
        return None

    def find(self, name: str) -> User | None:
        """Who has this name."""
        return self._known.get(name)

    def all(self) -> list[User]:
        """Everybody, by name."""
        return sorted(self._known.values(), key=lambda user: user.name)

    async def create(self, name: str, password: str, role: Role) -> User:
        """Make a user. Raises `InvalidInput`, `AlreadyInLoop`."""
        _check_name(name)
        check_password(password)
        row = {
            "name": name,
            "password_hash": await self._hash(password),
            "role": role,
            "created": written(self._now()),
        }

        def act(connection: Connection) -> None:
            if connection.execute(select(users.c.id).where(users.c.name == name)).first():
                raise AlreadyInLoop(f"There is a user {name!r} already; choose another name")
            if _count(connection) >= MAX_USERS:
                raise InvalidInput(f"There are {MAX_USERS} users already; remove one first")
            connection.execute(insert(users), row)

        await self._database.write(act)
        await self._reload()
        return self._known[name]

    async def set_password(self, name: str, password: str) -> None:
        """Give a user another password, which ends all sessions of that user. Raises `InvalidInput`, `NotInLoop`."""
        check_password(password)
        hashed = await self._hash(password)

        def act(connection: Connection) -> None:
            if not connection.execute(update(users).where(users.c.name == name).values(password_hash=hashed)).rowcount:
                raise NotInLoop(f"There is no user {name!r}")

        await self._database.write(act)
        await self._reload()

    async def remove(self, name: str) -> None:
        """Take a user away, sessions included. Raises `NotInLoop`, and `AlreadyInLoop` for the last administrator."""

        def act(connection: Connection) -> None:
            found = connection.execute(select(users).where(users.c.name == name)).first()
            if found is None:
                raise NotInLoop(f"There is no user {name!r}")
            admins = select(func.count()).select_from(users).where(users.c.role == "admin")
            if found.role == "admin" and connection.execute(admins).scalar_one() == 1:
                raise AlreadyInLoop(f"{name!r} is the last administrator; make another first")
            connection.execute(delete(users).where(users.c.id == found.id))

        await self._database.write(act)
        await self._reload()

    async def verify(self, name: str, password: str) -> User | None:
        """Who logs in with this name and password; it takes as long if there is no such user. Raises `LoopBusy`."""
        if len(password) > MAX_TEXT:
            return None
        user = self._known.get(name)
        if self._nobodys_hash is None:
            self._nobodys_hash = await self._hash(secrets.token_urlsafe(12))
        right = await _in_turn(self._hashing.matches(user.password_hash if user else self._nobodys_hash, password))
        return user if right else None

    async def _hash(self, password: str) -> str:
        return await _in_turn(self._hashing.hash(password))

    async def _reload(self) -> None:
        rows = await self._database.read(lambda connection: connection.execute(select(users)).all())
        self._known = {row.name: User(row.name, row.role, row.created, row.password_hash) for row in rows}


async def _in_turn(act: Awaitable[_T]) -> _T:
    try:
        return await act
    except TooManyTries as error:
        raise LoopBusy(str(error), retry_after=error.retry_after) from error


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(users)).scalar_one()


def _check_name(name: str) -> None:
    if not (0 < len(name) <= MAX_TEXT and name.isprintable() and name == name.strip() and ":" not in name):
        raise InvalidInput(
            f"A user's name has 1 to {MAX_TEXT} printable characters, no colon, and no space at its ends"
        )
