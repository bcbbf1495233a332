"""People of the loop: the first one, more of them, and what a password opens."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone

import pytest
from argon2 import PasswordHasher

from appliance.hashing import MAX_WAITING
from appliance.loop_server.db import Database
from appliance.loop_server.users import Users
from models.errors import AlreadyInLoop, InvalidInput, LoopBusy, NotInLoop
from tests.unit.appliance.loop_server.conftest import Story

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def users_of(database: Database) -> Users:
    return Users(database, lambda: datetime(2024, 5, 1, tzinfo=timezone.utc), QUICK)


def test_the_first_start_makes_the_user_that_is_named_and_later_ones_no_other(with_database: Story[None]) -> None:
    async def first(database: Database) -> None:
        users = users_of(database)
        assert await users.start("ann", "secret enough") is None
        assert [(user.name, user.role) for user in users.all()] == [("ann", "admin")]
        assert await users.verify("ann", "secret enough") == users.find("ann")
        assert await users.verify("ann", "secret enouGh") is None
        assert await users.verify("bob", "secret enough") is None

    async def later(database: Database) -> None:
        users = users_of(database)
        assert await users.start("bob", "something else") is None
        assert [user.name for user in users.all()] == ["ann"]

    with_database(first)
    with_database(later)


@pytest.mark.parametrize(("name", "password"), [(None, None), ("ann", None), (None, "secret enough")])
def test_without_a_name_and_a_password_it_is_admin_with_one_by_chance(
    with_database: Story[None], name: str | None, password: str | None
) -> None:
    async def story(database: Database) -> None:
        users = users_of(database)
        made_up = await users.start(name, password)
        assert made_up is not None
        assert len(made_up) >= 16
        found = await users.verify("admin", made_up)
        assert found is not None
        assert found.role == "admin"
        assert await users_of(database).start(None, None) is None

    with_database(story)


def test_passwords_are_kept_as_argon2_hashes(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        users = Users(database, lambda: datetime(2024, 5, 1, tzinfo=timezone.utc))
        await users.start("ann", "secret enough")
        found = users.find("ann")
        assert found is not None
        assert found.password_hash.startswith("$argon2id$v=19$m=65536,")

    with_database(story)


def test_users_come_and_go_and_change_their_password(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        users = users_of(database)
        await users.start("ann", "secret enough")
        bob = await users.create("bob", "more than eight", "user")
        with pytest.raises(AlreadyInLoop, match="There is a user 'bob' already"):
            await users.create("bob", "more than eight", "user")
        await users.set_password("bob", "another of them")
        assert await users.verify("bob", "more than eight") is None
        changed = await users.verify("bob", "another of them")
        assert changed is not None
        assert changed.fingerprint != bob.fingerprint
        await users.remove("bob")
        assert users.find("bob") is None
        for act in (users.remove("bob"), users.set_password("bob", "another of them")):
            with pytest.raises(NotInLoop, match="There is no user 'bob'"):
                await act

    with_database(story)


def test_the_last_administrator_stays(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        users = users_of(database)
        await users.start("ann", "secret enough")
        await users.create("bob", "more than eight", "user")
        with pytest.raises(AlreadyInLoop, match="'ann' is the last administrator"):
            await users.remove("ann")
        await users.create("cleo", "more than eight", "admin")
        await users.remove("ann")
        assert [user.name for user in users.all()] == ["bob", "cleo"]

    with_database(story)


@pytest.mark.parametrize("name", ["", " ann", "a:b", "a\nb", "x" * 256])
def test_names_that_could_not_log_in_are_refused(with_database: Story[None], name: str) -> None:
    async def story(database: Database) -> None:
        with pytest.raises(InvalidInput, match="A user's name has"):
            await users_of(database).create(name, "more than eight", "user")

    with_database(story)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 256])
def test_passwords_of_no_use_are_refused(with_database: Story[None], password: str) -> None:
    async def story(database: Database) -> None:
        with pytest.raises(InvalidInput, match="A password has"):
            await users_of(database).create("ann", password, "user")

    with_database(story)


def test_a_crowd_at_the_door_is_turned_away_and_not_queued_without_end(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        users = users_of(database)
        await users.start("ann", "secret enough")
        tries = [users.verify("ann", "wrong") for _ in range(MAX_WAITING + 50)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, LoopBusy) for each in results) >= 49
        assert await users.verify("ann", "secret enough") is not None

    with_database(story)
