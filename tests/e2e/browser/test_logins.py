"""A stranger in front of a box: claims it with the code, logs in, is wrong, and is shown the door when the session is over.

The browser reaches the box by an address of this machine that is not the loopback's, so that it counts as another machine.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET

import psutil
import pytest

from tests.e2e.browser.chromium import Browser
from tests.e2e.browser.conftest import OpenBrowser
from tests.e2e.circle import Box, Loop, a_box

pytestmark = pytest.mark.slow

PASSWORD = "a long password"
OTHER = "another long password"
CODE = re.compile(r"one-time code (\w{4}-\w{4})")
REFUSED = r"/api/v1/(login|claim).* (401|403) "
WEEK = 7 * 24 * 3600


def own_address() -> str | None:
    """An IPv4 address of this machine at which others may reach it; None if it has none."""
    working = {name for name, card in psutil.net_if_stats().items() if card.isup}
    for name, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            if name in working and each.family == AF_INET and not each.address.startswith(("127.", "169.254.")):
                return str(each.address)
    return None


needs_an_address = pytest.mark.skipif(
    own_address() is None, reason="this machine has no address but the loopback's: nobody can be a stranger to it"
)


@contextmanager
def open_box(folder: Path, loop: Loop) -> Iterator[Box]:
    """A box that listens on every address, and belongs to nobody."""
    with a_box(folder, loop, environment={"RUNTIME": "onnx/cpu/1"}, arguments=("--host", "0.0.0.0")) as box:
        box.process.start()
        box.process.wait_until("/readyz")
        yield box


@pytest.fixture(scope="module")
def unclaimed(tmp_path_factory: pytest.TempPathFactory, shop: tuple[Loop, Box]) -> Iterator[Box]:
    """One box for all; each story begins with it unclaimed or claimed, as it needs it."""
    with open_box(tmp_path_factory.mktemp("open"), shop[0]) as box:
        yield box


@pytest.fixture
def claimed(unclaimed: Box) -> Box:
    """It has `PASSWORD`, and nobody has logged in."""
    unclaimed.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
    return unclaimed


@pytest.fixture
def stranger(open_browser: OpenBrowser, unclaimed: Box) -> Browser:
    """A browser on another machine, as far as the box can tell."""
    return open_browser(f"http://{own_address()}:{unclaimed.process.port}")


def log_in(browser: Browser, password: str = PASSWORD) -> None:
    browser.visit("/login")
    browser.fill("Password", password)
    browser.press("Log in")


@needs_an_address
def test_a_stranger_claims_the_box_with_the_code_of_its_first_start(unclaimed: Box, stranger: Browser) -> None:
    code = CODE.search(unclaimed.process.log_text())
    assert code, unclaimed.process.log_text()
    stranger.expect(REFUSED)

    stranger.visit("/models")
    stranger.sees("Claim this box")
    assert stranger.path == "/claim"
    _claim(stranger, "wrng-code", PASSWORD)
    stranger.sees("That is not the one-time code")
    assert not unclaimed.http.get("/api/v1/login").json()["claimed"]

    _claim(stranger, code[1], "short")
    stranger.sees("New password: 8 characters or more are due.")
    stranger.fill("New password", PASSWORD)
    stranger.press("Set the password")
    stranger.sees("The two passwords are not the same.")
    stranger.fill("The same once more", PASSWORD)
    stranger.press("Set the password")
    stranger.until("the page that was wanted", lambda: stranger.path == "/models" and stranger.connected())
    stranger.sees("Which model serves")
    assert unclaimed.http.get("/api/v1/login").json()["claimed"]
    stranger.choose("Which model serves", "Pause")
    stranger.until("the deed", lambda: unclaimed.versions()["version_control"] == "pause")


def _claim(browser: Browser, code: str, password: str) -> None:
    browser.fill("One-time code", code)
    browser.fill("New password", password)
    browser.fill("The same once more", password)
    browser.press("Set the password")


def test_on_the_box_itself_it_is_claimed_without_a_code(unclaimed: Box, open_browser: OpenBrowser) -> None:
    unclaimed.http.request("DELETE", "/api/v1/password").raise_for_status()
    here = open_browser(f"http://localhost:{unclaimed.process.port}")
    here.visit("/claim")
    here.sees("Claim this box")
    assert "One-time code" not in here.text()
    here.fill("New password", PASSWORD)
    here.fill("The same once more", PASSWORD)
    here.press("Set the password")
    here.until("the dashboard", lambda: here.path == "/" and here.connected())
    assert unclaimed.http.get("/api/v1/login").json()["claimed"]


@needs_an_address
def test_a_stranger_logs_in_and_is_told_what_is_wrong_with_a_wrong_password(claimed: Box, stranger: Browser) -> None:
    stranger.expect(REFUSED)
    stranger.visit("/outbox")
    stranger.sees("Log in")
    assert stranger.path == "/login"
    stranger.fill("Password", "not the password")
    stranger.press("Log in")
    stranger.sees("That is not the password.")
    assert stranger.path == "/login"
    stranger.fill("Password", PASSWORD)
    stranger.press("Log in")
    stranger.until("the page that was wanted", lambda: stranger.path == "/outbox" and stranger.connected())
    stranger.sees("Sending")

    [cookie] = [each for each in stranger.driver.get_cookies() if each["name"] == "appliance_session"]
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Strict"
    stranger.driver.delete_all_cookies()
    stranger.visit("/outbox")
    stranger.until("the door, without the cookie", lambda: stranger.path == "/login")


@needs_an_address
def test_a_session_that_somebody_ends_leads_the_open_page_to_the_door(claimed: Box, stranger: Browser) -> None:
    stranger.expect(r"40[13] |WebSocket")
    log_in(stranger)
    stranger.until("the dashboard", lambda: stranger.path == "/" and stranger.connected())
    stranger.sees("Detecting with model")
    claimed.http.delete("/api/v1/sessions").raise_for_status()
    stranger.until("the door, by itself", lambda: stranger.path == "/login")
    stranger.sees("You are not let in any more")


@needs_an_address
def test_who_changes_the_password_stays_and_everybody_else_has_to_log_in(
    claimed: Box, stranger: Browser, open_browser: OpenBrowser
) -> None:
    other = open_browser(stranger.address, width=360)
    for browser in (stranger, other):
        browser.expect(r"40[13] |WebSocket")
        log_in(browser)
        browser.sees("Seen last")

    stranger.go("/settings")
    stranger.sees(f"You are logged in from {own_address()}, until", "this one")
    stranger.fill("Current password", "not the password")
    stranger.fill("New password", OTHER)
    stranger.fill("The same once more", OTHER)
    stranger.press("Change the password")
    stranger.sees("That is not the password.")
    stranger.fill("Current password", PASSWORD)
    stranger.press("Change the password")
    stranger.sees("The password is changed. One other session has ended.")
    other.until("the door, by itself", lambda: other.path == "/login")
    other.sees("You are not let in any more")
    log_in(other)
    other.sees("That is not the password.")

    stranger.press("Log out")
    stranger.until("the door", lambda: stranger.path == "/login")
    stranger.sees("You are logged out.")
    stranger.visit("/settings")
    stranger.until("the door again", lambda: stranger.path == "/login")
    log_in(stranger, OTHER)
    stranger.until("the dashboard, with the new one", lambda: stranger.path == "/" and stranger.connected())


@needs_an_address
def test_a_network_that_is_trusted_no_more_leads_its_open_pages_to_the_door(claimed: Box, stranger: Browser) -> None:
    stranger.expect(r"40[13] |WebSocket")
    claimed.http.put("/api/v1/settings", json={"trusted_networks": [f"{own_address()}/32"]}).raise_for_status()
    stranger.go("/settings")
    stranger.sees(f"in the trusted network {own_address()}/32")
    assert "Log out" not in stranger.text()
    claimed.http.put("/api/v1/settings", json={"trusted_networks": None}).raise_for_status()
    stranger.until("the door, by itself", lambda: stranger.path == "/login")
    stranger.sees("You are not let in any more")


@needs_an_address
def test_a_session_that_nobody_used_for_a_week_is_over(claimed: Box, stranger: Browser) -> None:
    stranger.expect(r"ERR_CONNECTION|40[13] |WebSocket")
    log_in(stranger)
    stranger.until("the dashboard", lambda: stranger.path == "/" and stranger.connected())
    claimed.process.stop()
    kept = claimed.data_folder / "sessions.json"
    document = json.loads(kept.read_text())
    for each in document["sessions"]:
        each["used"] = each["opened"] = time.time() - WEEK - 60
    kept.write_text(json.dumps(document))
    claimed.process.start()
    claimed.process.wait_until("/readyz")
    stranger.until("the door, by itself", lambda: stranger.path == "/login", 60.0)
    log_in(stranger)
    stranger.until("the dashboard again", lambda: stranger.path == "/" and stranger.connected())


@needs_an_address
def test_last_of_all_whoever_is_wrong_again_and_again_has_to_wait_and_sees_how_long(
    claimed: Box, stranger: Browser
) -> None:
    stranger.expect(r"/api/v1/login.* (401|429) ")
    stranger.visit("/login")
    for _ in range(8):
        stranger.fill("Password", "not the password")
        stranger.press("Log in")
        said = stranger.until("an answer", lambda: stranger.find("//p[@id = 'wrong']").text)
        if "Too many" in said:
            break
    assert re.search(r"Too many wrong tries came from your network; wait a little.* \(\d+ s\)\.", said)
    assert not stranger.find("//button[@type = 'submit']").is_enabled()
