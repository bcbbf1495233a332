"""An outbox on an empty disk, and a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from appliance.outbox.queue import Outbox
from appliance.outbox.room import OutboxBounds
from models.files import FILE_SYSTEM


@dataclass
class Clock:
    """Time of day; stands still unless it is moved."""

    now: datetime = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def outbox(root: Path, clock: Clock) -> Outbox:
    return Outbox(root, OutboxBounds(1000, 1_000_000_000, 0), clock, FILE_SYSTEM)
