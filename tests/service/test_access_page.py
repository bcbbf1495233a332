"""The page on which logins are seen and ended and the password is set: what it is told of the box, and what it does to it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from appliance.dashboard import Dashboard
from appliance.hashing import Hashing
from appliance.sessions import COOKIE
from models.errors import InvalidInput, TooManyTries, WrongPassword
from tests.service.box import STRANGER, Box
from tests.service.conftest import MakeBox

PASSWORD = "correct horse"
OTHER = "battery staple"
FIREFOX = {"user-agent": "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0"}
NEIGHBOUR = ("203.0.114.8", 40000)


@pytest.fixture
def box(make_box: MakeBox) -> Box:
    """A box that knows one network and has no password."""
    made = make_box(trusted_networks=["198.51.100.0/28"])
    made.services.logins._hashing = Hashing(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    return made


def log_in(box: Box, client: tuple[str, int] = STRANGER, password: str = PASSWORD) -> bytes:
    """Log in with a browser; its cookie."""
    answer: httpx.Response = box.ask(
        "POST", "/api/v1/login", client=client, json={"password": password}, headers=FIREFOX
    )
    assert answer.status_code == 200, answer.text
    return f"{COOKIE}={answer.cookies[COOKIE]}".encode()


def scope(address: str, cookie: bytes | None = None) -> dict[str, Any]:
    """What is known of who opens a page."""
    headers = [(b"host", b"192.0.2.1:8004"), *([(b"cookie", cookie)] if cookie is not None else [])]
    return {"type": "http", "client": (address, 1), "headers": headers}


def test_who_comes_is_told_why_that_is_allowed(box: Box) -> None:
    access = Dashboard(box.services).access
    box.run(access.visitor(scope("127.0.0.1")).set_password(PASSWORD, ""))

    local = access.visitor(scope("127.0.0.1")).standing()
    trusted = access.visitor(scope("198.51.100.4")).standing()
    assert "on the box itself" in local.sentence
    assert "in the trusted network 198.51.100.0/28" in trusted.sentence
    assert (local.needs_current, trusted.needs_current) == (False, True)
    assert local.session is trusted.session is None

    guest = access.visitor(scope(STRANGER[0], log_in(box)))
    assert guest.standing().sentence.startswith(f"You are logged in from {STRANGER[0]}, until ")
    [row] = box.run(access.feed.now()).sessions
    assert (row.id, row.address, row.browser, row.seen) == (
        guest.standing().session,
        STRANGER[0],
        "Firefox on Android",
        "just now",
    )
    box.run(access.end(row.id))
    assert guest.standing().session is None
    assert guest.standing().sentence == "You are not let in any more."
    with pytest.raises(InvalidInput, match="over already"):
        box.run(access.end(row.id))


def test_a_password_set_on_the_page_is_that_of_curl_and_puts_out_all_others(box: Box) -> None:
    access = Dashboard(box.services).access
    assert not box.run(access.feed.now()).claimed
    assert box.run(access.visitor(scope("198.51.100.4")).set_password(PASSWORD, "")) == 0
    assert box.run(access.feed.now()).claimed
    mine, theirs = log_in(box), log_in(box, NEIGHBOUR)
    me, them = access.visitor(scope(STRANGER[0], mine)), access.visitor(scope(NEIGHBOUR[0], theirs))

    with pytest.raises(WrongPassword):
        box.run(me.set_password(OTHER, "a guess"))
    with pytest.raises(InvalidInput, match="8 to 255"):
        box.run(me.set_password("short", PASSWORD))
    assert box.run(me.set_password(OTHER, PASSWORD)) == 1

    assert me.standing().session is not None
    assert them.standing().session is None
    assert box.ask("POST", "/api/v1/login", client=NEIGHBOUR, json={"password": PASSWORD}).status_code == 401
    log_in(box, NEIGHBOUR, OTHER)
    assert box.run(me.end_others()) == 1
    assert len(box.run(access.feed.now()).sessions) == 1


def test_guessing_on_the_page_is_slowed_down_like_any_other(box: Box) -> None:
    access = Dashboard(box.services).access
    box.run(access.visitor(scope("127.0.0.1")).set_password(PASSWORD, ""))
    trusted = access.visitor(scope("198.51.100.4"))

    async def guess() -> str:
        for _ in range(20):
            try:
                await trusted.set_password(OTHER, "a guess")
            except WrongPassword:
                continue
            except TooManyTries as error:
                return str(error)
        return ""

    assert "Too many wrong tries" in box.run(guess())
