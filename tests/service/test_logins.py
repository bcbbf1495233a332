"""A stranger and the box: refused, claimed with the code, logged in, thrown out again."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from access import Refusals
from appliance.hashing import Hashing
from appliance.logins import SIGNING_KEY_FILE, WRONG_PER_MINUTE
from appliance.passwords import FILE_NAME as PASSWORD_FILE
from appliance.sessions import COOKIE, IDLE_SECONDS, LONGEST_SECONDS
from appliance.sessions import FILE_NAME as SESSIONS_FILE
from appliance.throttle import Throttle
from tests.service.box import STRANGER, Box, settings_for
from tests.service.conftest import MakeBox

PASSWORD = "correct horse"
OTHER = "battery staple"
NEIGHBOUR = ("203.0.114.8", 40000)
TRUSTED = ("198.51.100.4", 40000)
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(scope="module")
def running(make_box: MakeBox) -> Box:
    """A box that knows one network."""
    return make_box(trusted_networks=["198.51.100.0/28"])


@pytest.fixture
def box(running: Box) -> Box:
    """A box without a password, to which nobody has come yet."""
    logins, access = running.services.logins, running.services.access
    logins._hashing = Hashing(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    running.http.delete("/api/v1/password").raise_for_status()
    logins._tries = Throttle(WRONG_PER_MINUTE, time.monotonic)
    access.refusals = Refusals(time.time)
    return running


@pytest.fixture
def claimed(box: Box) -> Box:
    """A box with a password."""
    box.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
    return box


def code_of(said: str) -> str:
    """The one-time code in what the first start said."""
    found = re.search(r"\b[a-z2-9]{4}-[a-z2-9]{4}\b", said)
    assert found, said
    return found[0]


def claim(box: Box, code: str, client: tuple[str, int] = STRANGER, **how: Any) -> httpx.Response:
    return box.ask("POST", "/api/v1/claim", client=client, json={"password": PASSWORD, "code": code}, **how)


def log_in(box: Box, password: str = PASSWORD, client: tuple[str, int] = STRANGER, **how: Any) -> httpx.Response:
    return box.ask("POST", "/api/v1/login", client=client, json={"password": password}, **how)


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    """What the browser sends from now on."""
    assert answer.status_code == 200, answer.text
    return {"cookie": f"{COOKIE}={answer.cookies[COOKIE]}"}


def may(box: Box, cookie: dict[str, str], client: tuple[str, int] = STRANGER) -> bool:
    """Whether who sends this may change something and see pictures."""
    changes = box.ask("PUT", "/outbox_mode", content="continuous_upload", client=client, headers=cookie)
    sees = box.ask("GET", "/api/v1/outbox", client=client, headers=cookie)
    assert {changes.status_code, sees.status_code} in ({200}, {401})
    return changes.status_code == 200


def test_no_box_comes_with_a_password_and_it_says_how_it_is_claimed(box: Box) -> None:
    for guess in ("", "admin", "password"):
        assert log_in(box, guess).status_code == 403
    refused = box.ask("PUT", "/outbox_mode", content="stopped", client=STRANGER)
    assert refused.status_code == 401
    assert "/claim" in refused.json()["detail"]
    assert "appliance password set" in refused.json()["detail"]
    assert box.http.get("/outbox_mode").text == "continuous_upload"


def test_a_stranger_claims_the_box_with_the_code_of_the_first_start(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with Box(settings_for(folder)) as box:
        code = code_of(capsys.readouterr().out)
        assert code in caplog.text
        assert code.replace("-", "") not in (box.data / PASSWORD_FILE).read_text().replace("-", "")

        assert claim(box, "aaaa-aaaa").status_code == 401
        cookie = cookie_of(claim(box, f" {code.upper().replace('-', ' ')}"))
        assert may(box, cookie)
        assert not may(box, {})

        again = claim(box, code, NEIGHBOUR)
        assert again.status_code == 403
        assert "has a password already" in again.json()["detail"]
        assert may(box, cookie_of(log_in(box, client=NEIGHBOUR)), NEIGHBOUR)
    with Box(settings_for(folder)) as box:
        assert "one-time code" not in capsys.readouterr().out


def test_the_code_of_the_first_start_holds_after_the_second(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Box(settings_for(folder)):
        code = code_of(capsys.readouterr().out)
    with Box(settings_for(folder)) as box:
        assert "one-time code" not in capsys.readouterr().out
        cookie_of(claim(box, code))


@pytest.mark.parametrize("client", [("127.0.0.1", 1), TRUSTED], ids=["loopback", "trusted network"])
def test_who_may_do_everything_claims_without_a_code(box: Box, client: tuple[str, int]) -> None:
    claim(box, "", client).raise_for_status()
    cookie_of(log_in(box))


def test_wrong_codes_are_slowed_down(box: Box) -> None:
    for _ in range(WRONG_PER_MINUTE):
        assert claim(box, "aaaa-aaaa").status_code == 401
    slowed = claim(box, "aaaa-aaaa")
    assert slowed.status_code == 429
    assert 0 < int(slowed.headers["retry-after"]) <= 60
    assert claim(box, "aaaa-aaaa", NEIGHBOUR).status_code == 401, "others are not"


def test_wrong_passwords_are_slowed_down_and_the_right_one_with_them(claimed: Box) -> None:
    for _ in range(WRONG_PER_MINUTE):
        assert log_in(claimed, "guess").status_code == 401
    slowed = log_in(claimed)
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) > 0
    assert COOKIE not in slowed.cookies
    cookie_of(log_in(claimed, client=NEIGHBOUR))


def test_a_password_that_is_no_password_is_not_set(box: Box) -> None:
    for password in ("", "short", "x" * 256):
        assert box.http.post("/api/v1/claim", json={"password": password}).status_code == 422
        assert box.http.put("/api/v1/password", json={"password": password}).status_code == 422
    nonsense = box.http.post("/api/v1/claim", content=b'{"password": 5, "code": "s3cret"}')
    assert nonsense.status_code == 422
    assert "s3cret" not in nonsense.text
    assert log_in(box, "").status_code == 403


def test_the_cookie_is_kept_from_scripts_other_sites_and_open_lines(claimed: Box) -> None:
    plain = log_in(claimed).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "samesite=strict" in plain.lower()
    assert "Path=/" in plain
    assert "Secure" not in plain
    own = {"origin": "https://192.0.2.1"}
    for how in ({"base_url": "https://192.0.2.1"}, {"base_url": "http://192.0.2.1:443", "headers": own}):
        assert "Secure" in log_in(claimed, **how).headers["set-cookie"]


FORGED = {
    "nothing": "",
    "no signature": "aGVsbG8",
    "another's signature": "ImFiYyI.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "a list": "WzFd.x",
    "very long": "x" * 6000,
}


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_a_forged_cookie_opens_nothing(claimed: Box, value: str) -> None:
    assert not may(claimed, {"cookie": f"{COOKIE}={value}"})


def test_a_cookie_of_another_box_or_with_a_letter_changed_opens_nothing(claimed: Box, tmp_path: Path) -> None:
    value = log_in(claimed).cookies[COOKIE]
    assert not may(claimed, {"cookie": f"{COOKIE}={value[:-2]}{'a' if value[-2] != 'a' else 'b'}{value[-1]}"})
    with Box(settings_for(tmp_path / "other")) as other:
        assert not may(other, {"cookie": f"{COOKIE}={value}"})


def test_what_lies_in_the_data_folder_is_for_its_owner_and_opens_nothing(claimed: Box) -> None:
    value = log_in(claimed).cookies[COOKIE]
    for name in (PASSWORD_FILE, SESSIONS_FILE, SIGNING_KEY_FILE):
        assert (claimed.data / name).stat().st_mode & 0o077 == 0, name
    kept = (claimed.data / SESSIONS_FILE).read_text() + (claimed.data / PASSWORD_FILE).read_text()
    assert PASSWORD not in kept
    assert value not in kept
    shown = claimed.http.get("/metrics").text + claimed.http.get("/api/v1/settings").text
    assert "argon2" not in shown
    assert PASSWORD not in shown


def test_sessions_are_listed_and_ended_one_by_one(claimed: Box) -> None:
    phone = cookie_of(log_in(claimed, headers={"user-agent": "a phone"}))
    desk = cookie_of(log_in(claimed, client=NEIGHBOUR, headers={"user-agent": "a desk"}))
    listed = claimed.ask("GET", "/api/v1/sessions", client=STRANGER, headers=phone).json()
    assert {(each["agent"], each["address"], each["current"]) for each in listed} == {
        ("a phone", STRANGER[0], True),
        ("a desk", NEIGHBOUR[0], False),
    }
    desk_id = next(each["id"] for each in listed if each["agent"] == "a desk")
    ended = claimed.ask("DELETE", f"/api/v1/sessions/{desk_id}", client=STRANGER, headers=phone)
    assert ended.json() == {"count": 1}
    assert not may(claimed, desk)
    assert may(claimed, phone)
    assert claimed.http.delete(f"/api/v1/sessions/{desk_id}").status_code == 404
    assert claimed.http.delete("/api/v1/sessions").json() == {"count": 1}
    assert not may(claimed, phone)


def test_who_logs_out_is_out_and_nobody_else(claimed: Box) -> None:
    phone, desk = cookie_of(log_in(claimed)), cookie_of(log_in(claimed, client=NEIGHBOUR))
    answer = claimed.ask("POST", "/api/v1/logout", client=STRANGER, headers=phone)
    assert 'appliance_session="";' in answer.headers["set-cookie"]
    assert not may(claimed, phone)
    assert may(claimed, desk)


def test_all_other_sessions_are_ended_at_once(claimed: Box) -> None:
    phone, desk = cookie_of(log_in(claimed)), cookie_of(log_in(claimed, client=NEIGHBOUR))
    ended = claimed.ask("DELETE", "/api/v1/sessions?others=true", client=STRANGER, headers=phone)
    assert ended.json() == {"count": 1}
    assert may(claimed, phone)
    assert not may(claimed, desk)
    assert claimed.http.delete("/api/v1/sessions?others=true").json() == {"count": 1}, "who asks has none"
    assert not may(claimed, phone)


def test_another_password_ends_every_other_session(claimed: Box) -> None:
    phone, desk = cookie_of(log_in(claimed)), cookie_of(log_in(claimed, client=NEIGHBOUR))

    def change(current: str, cookie: dict[str, str]) -> int:
        body = {"password": OTHER, "current": current}
        return claimed.ask("PUT", "/api/v1/password", client=STRANGER, headers=cookie, json=body).status_code

    assert change("guess", phone) == 401, "a browser left alone is not enough"
    assert change(PASSWORD, {}) == 401
    assert may(claimed, desk)
    assert change(PASSWORD, phone) == 200
    assert may(claimed, phone)
    assert not may(claimed, desk)
    assert log_in(claimed).status_code == 401
    assert may(claimed, cookie_of(log_in(claimed, OTHER)))


def test_a_cleared_password_takes_everybody_out_and_makes_a_new_code(claimed: Box) -> None:
    phone = cookie_of(log_in(claimed))
    assert claimed.ask("DELETE", "/api/v1/password", client=STRANGER, headers=phone).status_code == 401
    code = claimed.http.delete("/api/v1/password").json()["code"]
    assert not may(claimed, phone)
    assert log_in(claimed).status_code == 403
    cookie_of(claim(claimed, code))


def test_sessions_survive_a_restart_and_end_in_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Box(settings_for(folder)) as box:
        box.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
        cookie = cookie_of(log_in(box))
    with Box(settings_for(folder)) as box:
        assert may(box, cookie)
        sessions = box.services.logins.sessions
        now = sessions._clock()
        monkeypatch.setattr(sessions, "_clock", lambda: now + IDLE_SECONDS - 60)
        assert may(box, cookie)
        monkeypatch.setattr(sessions, "_clock", lambda: now + 2 * IDLE_SECONDS - 120)
        assert may(box, cookie), "it was used"
        monkeypatch.setattr(sessions, "_clock", lambda: now + 3 * IDLE_SECONDS)
        assert not may(box, cookie)
        assert IDLE_SECONDS < LONGEST_SECONDS


def test_a_page_of_another_site_can_neither_claim_nor_log_in(claimed: Box) -> None:
    for path in ("/api/v1/claim", "/api/v1/login", "/api/v1/logout"):
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
            for client in (STRANGER, ("127.0.0.1", 1)):
                body = {"password": PASSWORD}
                refused = claimed.ask("POST", path, client=client, headers=headers, json=body)
                assert refused.status_code == 403, (path, headers)
                assert COOKIE not in refused.cookies
    own = {"origin": "http://192.0.2.1:8004", "sec-fetch-site": "same-origin"}
    cookie_of(log_in(claimed, headers=own))


@pytest.mark.parametrize("path", ["/", "/live", "/models", "/outbox"])
def test_a_browser_is_shown_the_door_and_a_program_the_reason(box: Box, path: str) -> None:
    def door() -> str:
        shown = box.ask("GET", path, client=STRANGER, headers=BROWSER)
        assert shown.status_code == 303
        assert "no-store" in shown.headers["cache-control"]
        return shown.headers["location"]

    wanted = "" if path == "/" else f"?next=%2F{path[1:]}"
    assert door() == f"/claim{wanted}"
    box.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
    assert door() == f"/login{wanted}"
    program = box.ask("GET", path, client=STRANGER)
    assert program.status_code == 401
    assert "detail" in program.json()
    assert box.ask("GET", "/api/v1/outbox", client=STRANGER, headers=BROWSER).status_code == 401
    assert box.ask("GET", "/pictures/x", client=STRANGER, headers=BROWSER).status_code == 401


def test_the_two_doors_show_the_right_page_to_each(box: Box) -> None:
    def page(path: str, client: tuple[str, int] = STRANGER, cookie: dict[str, str] | None = None) -> tuple[int, str]:
        answer = box.ask("GET", path, client=client, headers={**BROWSER, **(cookie or {})})
        return answer.status_code, answer.text if answer.status_code == 200 else answer.headers["location"]

    assert page("/login?next=/models") == (303, "/claim?next=%2Fmodels")
    status, html = page("/claim")
    assert status == 200
    assert 'name="code"' in html
    for client in (("127.0.0.1", 1), TRUSTED):
        assert 'name="code"' not in page("/claim", client)[1]
    box.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
    assert page("/claim") == (303, "/login")
    assert 'type="password"' in page("/login")[1]
    assert page("/login?next=/models", ("127.0.0.1", 1)) == (303, "/models")
    assert page("/login?next=/models", cookie=cookie_of(log_in(box))) == (303, "/models")


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/api/v1/x"]
)
def test_a_door_leads_to_pages_of_this_box_only(claimed: Box, wanted: str) -> None:
    html = claimed.ask("GET", "/login", client=STRANGER, params={"next": wanted}).text
    assert '"wanted": "/"' in html
    assert "evil" not in html


def test_pages_of_the_door_run_nothing_but_their_own_script_and_cannot_be_framed(claimed: Box) -> None:
    answer = claimed.ask("GET", "/login", client=STRANGER)
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([^']+)'", policy)
    assert nonce
    assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce[1]}">') == 2
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", answer.text)
    other = claimed.ask("GET", "/login", client=STRANGER)
    assert nonce[1] not in other.headers["content-security-policy"]


def test_everybody_can_ask_how_the_box_knows_them(box: Box) -> None:
    def standing(client: tuple[str, int], cookie: dict[str, str] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = box.ask("GET", "/api/v1/login", client=client, headers=cookie).json()
        return answer

    assert standing(STRANGER) == {"kind": "stranger", "claimed": False}
    box.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
    assert standing(STRANGER) == {"kind": "stranger", "claimed": True}
    assert standing(TRUSTED)["kind"] == "trusted"
    assert standing(STRANGER, cookie_of(log_in(box)))["kind"] == "administrator"


def test_a_browser_at_the_door_is_no_robot_that_was_turned_away(box: Box) -> None:
    for _ in range(3):
        box.ask("GET", "/", client=STRANGER, headers=BROWSER)
    assert box.http.get("/api/v1/refusals").json() == []


def test_who_has_logged_in_is_served_over_the_robots_socket_until_the_session_ends(claimed: Box) -> None:
    cookie = cookie_of(log_in(claimed))
    forwarded = {"x-forwarded-for": "203.0.113.7"}

    async def story(robot: Any) -> list[Any]:
        answers = [await robot.call("set_outbox_mode", "continuous_upload", timeout=10)]
        await asyncio.to_thread(claimed.http.delete, "/api/v1/sessions")
        answers.append(await robot.call("set_outbox_mode", "continuous_upload", timeout=10))
        return answers

    before, after = claimed.talk(story, headers={**cookie, **forwarded})
    assert before == {"status": "OK"}
    assert "error" in after


def test_a_password_file_that_cannot_be_understood_opens_nothing_to_strangers(folder: Path) -> None:
    with Box(settings_for(folder)) as box:
        box.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
        cookie = cookie_of(log_in(box))
    (folder / "data" / PASSWORD_FILE).write_text("{")
    with Box(settings_for(folder)) as box:
        assert not may(box, cookie)
        assert log_in(box).status_code == 403
        assert "appliance password set" in claim(box, "aaaa-aaaa").json()["detail"]
        assert box.ask("GET", "/", client=STRANGER, headers=BROWSER).headers["location"] == "/login"
        box.http.put("/api/v1/password", json={"password": OTHER}).raise_for_status()
        assert may(box, cookie_of(log_in(box, OTHER)))
