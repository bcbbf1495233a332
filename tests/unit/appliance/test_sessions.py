"""Sessions over time and over restarts; the clock is moved by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from access import Evidence
from appliance.sessions import (
    COOKIE,
    FILE_NAME,
    IDLE_SECONDS,
    LONGEST_SECONDS,
    MAX_SESSIONS,
    WRITTEN_EVERY,
    Sessions,
)
from models.errors import StorageRefused
from models.files import FILE_SYSTEM, FileSystem
from tests.support.crashing_files import disks_after_every_cut
from tests.support.held_threads import Held, HeldFiles

SECRET = b"s" * 32


@dataclass
class Clock:
    """Seconds; stand still unless they are moved."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class FullDisk(FileSystem):
    """Writes are counted; none succeeds once it is `full`."""

    full = False
    writes = 0

    def write_atomically(self, path: Path, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.writes += 1
        super().write_atomically(path, data)


def evidence(cookie: str) -> Evidence:
    return Evidence("203.0.113.7", {b"cookie": [f"theme=dark; {COOKIE}={cookie}".encode()]})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def started(folder: Path, clock: Clock, disk: FileSystem = FILE_SYSTEM, password: str = "one") -> Sessions:
    sessions = Sessions(folder / FILE_NAME, disk, clock)
    await sessions.start(SECRET, password)
    return sessions


def test_a_session_lasts_a_week_unused_and_a_month_at_most(tmp_path: Path, clock: Clock) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock)
        opened = clock.now
        idle = await sessions.open("a", "")
        clock.now = opened + IDLE_SECONDS
        assert sessions.find(evidence(idle)) is not None
        clock.now += IDLE_SECONDS + 1
        assert sessions.find(evidence(idle)) is None
        clock.now -= IDLE_SECONDS
        assert sessions.find(evidence(idle)) is None, "what has ended does not come back with the clock"

        opened = clock.now
        busy = await sessions.open("b", "")
        while clock.now + IDLE_SECONDS < opened + LONGEST_SECONDS:
            clock.now += IDLE_SECONDS
            assert sessions.find(evidence(busy)) is not None
        clock.now = opened + LONGEST_SECONDS
        assert sessions.find(evidence(busy)) is not None
        clock.now += 1
        assert sessions.list() == ()
        assert sessions.find(evidence(busy)) is None
        await sessions.close()

    run(story())


def test_a_clock_that_is_set_back_ends_nothing(tmp_path: Path, clock: Clock) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock)
        cookie = await sessions.open("a", "")
        clock.now = 0.0
        assert sessions.find(evidence(cookie)) is not None
        await sessions.close()

    run(story())


def test_sessions_survive_a_restart_but_not_another_password_or_secret(tmp_path: Path, clock: Clock) -> None:
    async def story() -> None:
        cookie = await (await started(tmp_path, clock)).open("a", "")
        assert (await started(tmp_path, clock)).find(evidence(cookie)) is not None
        assert (await started(tmp_path, clock, password="another")).find(evidence(cookie)) is None
        other = Sessions(tmp_path / FILE_NAME, FILE_SYSTEM, clock)
        await other.start(b"t" * 32, "one")
        assert other.find(evidence(cookie)) is None

    run(story())


def test_when_a_session_was_used_last_is_known_after_a_restart_without_wearing_out_the_disk(
    tmp_path: Path, clock: Clock, disk: FullDisk
) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock, disk)
        cookie = await sessions.open("a", "")
        opened = clock.now
        for _ in range(100):
            clock.now += WRITTEN_EVERY / 50
            sessions.find(evidence(cookie))
            await asyncio.sleep(0)
        assert disk.writes <= 1 + 2
        await sessions.close()
        again = await started(tmp_path, clock)
        [session] = again.list()
        assert (session.opened, session.used) == (opened, clock.now)

    run(story())


def test_there_is_room_for_so_many_and_the_one_not_used_for_longest_goes(tmp_path: Path, clock: Clock) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock)
        cookies = []
        for number in range(MAX_SESSIONS):
            clock.now += 1
            cookies.append(await sessions.open(str(number), ""))
        clock.now += 1
        assert sessions.find(evidence(cookies[0])) is not None  # used, so the second is the oldest
        await sessions.open("one more", "x" * 500 + "\n")
        assert len(sessions.list()) == MAX_SESSIONS
        assert sessions.find(evidence(cookies[1])) is None
        assert sessions.find(evidence(cookies[0])) is not None
        assert {len(each.agent) for each in sessions.list()} == {0, 200}

    run(story())


@pytest.mark.parametrize(
    "value", ["", "x", "a.b.c", '"quoted"', "\x00", "é", "WzFd.AAAA", "x" * 100_000], ids=lambda value: value[:8] or "-"
)
def test_what_was_not_signed_here_is_no_session(tmp_path: Path, clock: Clock, value: str) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock)
        await sessions.open("a", "")
        assert sessions.find(evidence(value)) is None

    run(story())


def test_what_was_signed_here_and_is_no_token_is_no_session(tmp_path: Path, clock: Clock) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock)
        assert sessions._signer is not None
        for value in (None, 5, ["x"], {"a": 1}, "no token"):
            assert sessions.find(evidence(sessions._signer.sign(value))) is None

    run(story())


def test_a_disk_that_refuses_keeps_nobody_out_but_says_what_it_cannot_promise(
    tmp_path: Path, clock: Clock, disk: FullDisk, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock, disk)
        disk.full = True
        cookie = await sessions.open("a", "")
        session = sessions.find(evidence(cookie))
        assert session is not None
        assert "forgotten at the next start" in caplog.text
        with pytest.raises(StorageRefused):
            await sessions.end(session.id)
        assert sessions.find(evidence(cookie)) is None, "it has ended all the same"
        assert await sessions.end_all("another password") == 0, "which needs no disk: the password is another one"

    run(story())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 2}', '{"version": 1, "password": "one", "sessions": [{}]}']
)
def test_a_file_that_cannot_be_understood_lets_nobody_in(
    tmp_path: Path, clock: Clock, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        (tmp_path / FILE_NAME).write_text(content)
        sessions = await started(tmp_path, clock)
        assert sessions.list() == ()
        assert "everybody has to log in again" in caplog.text
        assert sessions.find(evidence(await sessions.open("a", ""))) is not None

    run(story())


def test_no_token_lies_on_the_disk(tmp_path: Path, clock: Clock) -> None:
    async def story() -> None:
        sessions = await started(tmp_path, clock)
        cookie = await sessions.open("a", "a browser")
        assert sessions._signer is not None
        token = sessions._signer.read(cookie)
        kept = (tmp_path / FILE_NAME).read_text()
        assert str(token) not in kept
        assert json.loads(kept)["sessions"][0]["agent"] == "a browser"

    run(story())


def test_a_session_that_was_ended_stays_so_wherever_the_power_fails_afterwards(tmp_path: Path, clock: Clock) -> None:
    def before(disk: Path) -> None:
        async def open_two() -> None:
            sessions = await started(disk, clock)
            await sessions.open("kept", "")
            await sessions.open("ended", "")

        asyncio.run(open_two())

    def end(files: FileSystem, disk: Path) -> None:
        async def act() -> None:
            sessions = await started(disk, clock, files)
            [session] = [each for each in sessions.list() if each.address == "ended"]
            await sessions.end(session.id)

        asyncio.run(act())

    def there(disk: Path) -> set[str]:
        return {each.address for each in asyncio.run(started(disk, clock)).list()}

    cut_short, finished = disks_after_every_cut(tmp_path, before, end)
    assert all(there(disk) in ({"kept", "ended"}, {"kept"}) for disk in cut_short), "all of the old or all of the new"
    assert all(there(disk) == {"kept"} for disk in finished)


def test_who_leaves_while_a_session_is_stored_leaves_the_file_to_one_writer(tmp_path: Path, clock: Clock) -> None:
    held = Held()

    async def story() -> None:
        sessions = await started(tmp_path, clock, HeldFiles(held, "remember", FILE_NAME))
        assert not await held.cancelled(sessions.open("a", ""))

    run(story())
