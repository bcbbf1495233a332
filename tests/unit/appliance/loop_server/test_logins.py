"""Sessions and Basic credentials: what opens a door, and what closes it again."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from access import Evidence, Kind, Login, Reason
from appliance.loop_server import logins as module
from appliance.loop_server.db import Database
from appliance.loop_server.logins import COOKIE, SESSION_SECONDS, WRONG_PER_MINUTE, Logins
from appliance.loop_server.users import Users
from appliance.signing import secret_in
from models.errors import LoginFailed, LoopBusy
from models.files import FILE_SYSTEM
from tests.support.crashing_files import disks_after_every_cut
from tests.unit.appliance.loop_server.conftest import Clock, Story

ELSEWHERE = "203.0.113.9"


class Counting(PasswordHasher):
    """Counts how often a password was looked at."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, *arguments: str | bytes) -> bool:  # type: ignore[override]
        self.verified += 1
        return super().verify(*arguments)


def evidence(headers: Mapping[str, str]) -> Evidence:
    return Evidence(ELSEWHERE, {name.encode(): [value.encode()] for name, value in headers.items()})


def basic(name: str, password: str) -> Evidence:
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return evidence({"authorization": f"Basic {encoded}"})


def cookie(value: str) -> Evidence:
    return evidence({"cookie": f"theme=dark; {COOKIE}={value}"})


async def opened(database: Database, clock: Clock, hasher: PasswordHasher | None = None) -> tuple[Users, Logins]:
    users = Users(database, lambda: datetime(2024, 5, 1, tzinfo=timezone.utc), hasher or Counting())
    await users.start("ann", "secret enough")
    await users.create("bob", "more than eight", "user")
    logins = Logins(users, clock)
    logins.sign_with(b"x" * 32)
    return users, logins


def test_a_session_is_recognised_until_it_ends(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        _, logins = await opened(database, clock)
        ann = cookie(await logins.log_in("ann", "secret enough", ELSEWHERE))
        bob = cookie(await logins.log_in("bob", "more than eight", ELSEWHERE))
        nobody = cookie(await logins.log_in("", "", ELSEWHERE))
        assert logins.recognise(ann) == Login(Kind.ADMINISTRATOR, "ann")
        assert logins.recognise(bob) == Login(Kind.USER, "bob")
        assert logins.recognise(nobody) == Login(Kind.NODE, "")
        clock.now += SESSION_SECONDS - 1
        assert logins.recognise(ann) == Login(Kind.ADMINISTRATOR, "ann")
        clock.now += 2
        assert [logins.recognise(each) for each in (ann, bob, nobody)] == [Reason.LOGIN] * 3

    with_database(story)


def test_a_wrong_password_opens_nothing(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        _, logins = await opened(database, clock)
        for name, password in [("ann", "wrong"), ("ann", ""), ("", "secret enough"), ("nobody", "secret enough")]:
            with pytest.raises(LoginFailed, match="User name or password are wrong"):
                await logins.log_in(name, password, ELSEWHERE)

    with_database(story)


def test_guesses_that_come_all_at_once_count_one_by_one(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        _, logins = await opened(database, clock)
        guesses = [logins.log_in("ann", f"guess {number}", ELSEWHERE) for number in range(40)]
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
        assert sum(isinstance(each, LoopBusy) for each in outcomes) >= 10
        assert sum(isinstance(each, LoginFailed) for each in outcomes) <= 30

    with_database(story)


def test_a_forged_cookie_counts_for_nothing(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        users, logins = await opened(database, clock)
        other = Logins(users, clock)
        other.sign_with(b"y" * 32)
        theirs = await other.log_in("ann", "secret enough", ELSEWHERE)
        ours = await logins.log_in("ann", "secret enough", ELSEWHERE)
        for value in (theirs, ours[:-1], ours[1:], "", "x.y", "WyJhbm4iXQ.", ours.split(".")[0]):
            assert logins.recognise(cookie(value)) is Reason.LOGIN, value
        assert logins.recognise(evidence({"cookie": "theme=dark"})) is None
        assert logins.recognise(evidence({})) is None

    with_database(story)


def test_another_password_and_removal_end_sessions(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        users, logins = await opened(database, clock)
        session = cookie(await logins.log_in("bob", "more than eight", ELSEWHERE))
        by_basic = basic("bob", "more than eight")
        await logins.prepare(by_basic, ELSEWHERE)
        assert logins.recognise(by_basic) == logins.recognise(session) == Login(Kind.USER, "bob")
        await users.set_password("bob", "another of them")
        assert logins.recognise(session) is Reason.LOGIN
        assert logins.recognise(by_basic) is Reason.LOGIN
        again = cookie(await logins.log_in("bob", "another of them", ELSEWHERE))
        assert logins.recognise(again) == Login(Kind.USER, "bob")
        await users.remove("bob")
        assert logins.recognise(again) is Reason.LOGIN

    with_database(story)


def test_basic_credentials_are_checked_once_and_then_known(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        hasher = Counting()
        _, logins = await opened(database, clock, hasher)
        right = basic("ann", "secret enough")
        assert logins.recognise(right) is Reason.LOGIN
        await logins.prepare(right, ELSEWHERE)
        for _ in range(3):
            assert logins.recognise(right) == Login(Kind.ADMINISTRATOR, "ann")
        assert hasher.verified == 1
        await logins.prepare(basic("ann", "wrong"), ELSEWHERE)
        assert logins.recognise(basic("ann", "wrong")) is Reason.LOGIN
        assert logins.recognise(right) == Login(Kind.ADMINISTRATOR, "ann")

    with_database(story)


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !", "Basic YQ==", "Bearer YTpi", "Basic //8=", "Basic " + "YTpi" * 999]
)
def test_what_is_no_basic_header_says_nothing(with_database: Story[None], clock: Clock, value: str) -> None:
    async def story(database: Database) -> None:
        hasher = Counting()
        _, logins = await opened(database, clock, hasher)
        await logins.prepare(evidence({"authorization": value}), ELSEWHERE)
        assert logins.recognise(evidence({"authorization": value})) is None
        assert hasher.verified == 0

    with_database(story)


def test_guessing_is_slowed_down_for_the_one_who_guesses(with_database: Story[None], clock: Clock) -> None:
    async def story(database: Database) -> None:
        _, logins = await opened(database, clock)
        for _ in range(WRONG_PER_MINUTE):
            with pytest.raises(LoginFailed):
                await logins.log_in("ann", "wrong", ELSEWHERE)
        with pytest.raises(LoopBusy) as busy:
            await logins.log_in("ann", "secret enough", ELSEWHERE)
        assert busy.value.retry_after == 2.0
        await logins.prepare(basic("ann", "secret enough"), ELSEWHERE)
        assert logins.recognise(basic("ann", "secret enough")) is Reason.TRIES
        assert await logins.log_in("ann", "secret enough", "198.51.100.4")
        clock.now += 60
        assert await logins.log_in("ann", "secret enough", ELSEWHERE)

    with_database(story)


def test_what_is_remembered_of_basic_credentials_is_bounded(
    with_database: Story[None], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)

    async def story(database: Database) -> None:
        _, logins = await opened(database, clock)
        for name, password in [("ann", "secret enough"), ("bob", "more than eight"), ("ann", "wrong")]:
            await logins.prepare(basic(name, password), ELSEWHERE)
        assert logins.recognise(basic("ann", "secret enough")) is Reason.LOGIN
        assert logins.recognise(basic("bob", "more than eight")) == Login(Kind.USER, "bob")

    with_database(story)


def test_the_secret_survives_a_restart_and_is_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "session.key"
    made = secret_in(path, FILE_SYSTEM)
    assert len(made) == 32
    assert secret_in(path, FILE_SYSTEM) == made
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"short")
    assert secret_in(path, FILE_SYSTEM) != made


def test_after_a_power_cut_there_is_a_whole_secret_or_none(tmp_path: Path) -> None:
    cut, whole = disks_after_every_cut(
        tmp_path, lambda _disk: None, lambda files, disk: secret_in(disk / "session.key", files)
    )
    for disk in cut:
        assert not (disk / "session.key").exists() or len((disk / "session.key").read_bytes()) == 32
    assert all(len((disk / "session.key").read_bytes()) == 32 for disk in whole)
