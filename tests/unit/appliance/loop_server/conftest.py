"""A database with the schema of today, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from appliance.loop_server.db import Database

T = TypeVar("T")

Story = Callable[[Callable[[Database], Awaitable[T]]], T]


@dataclass
class Clock:
    """Seconds; stand still unless they are moved."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def with_database(tmp_path: Path) -> Story[T]:
    """Run a story with the database of an embedded loop; the next story finds what the one before has left."""

    def run(story: Callable[[Database], Awaitable[T]]) -> T:
        async def told() -> T:
            database = Database(f"sqlite:///{tmp_path / 'loop.db'}")
            try:
                await database.start()
                return await story(database)
            finally:
                await database.close()

        return asyncio.run(told())

    return run
