"""Hashes of passwords: argon2, in threads and few at a time, for each takes a good part of a second and 64 MiB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from models.errors import InvalidInput, TooManyTries

MIN_PASSWORD = 8
MAX_PASSWORD = 255
"""Characters of a password."""

MAX_WAITING = 64
"""Passwords that wait for their turn; one more is refused."""

T = TypeVar("T")


def check_password(password: str) -> None:
    """Raises `InvalidInput` for a password that is too short or too long to be one."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidInput(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")


class Hashing:
    """Hashes and compares, `at_once` at a time; the others wait, a bounded number of them."""

    def __init__(self, hasher: PasswordHasher | None = None, *, at_once: int = 2) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turn = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The hash, with its salt and parameters in it. Raises `TooManyTries`."""
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def matches(self, hashed: str, password: str) -> bool:
        """Whether the hash is of this password; compared in constant time. Raises `TooManyTries`."""
        return await self._in_turn(lambda: matches(self._hasher, hashed, password))

    async def _in_turn(self, act: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise TooManyTries("Too many people log in at once; try again in a minute", retry_after=60)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(act)
        finally:
            self._waiting -= 1


def matches(hasher: PasswordHasher, hashed: str, password: str) -> bool:
    """Whether the hash is of this password; what is no hash is of none."""
    try:
        return hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False
