"""A page that stays open while the box goes and comes back: it says so, finds the box again, and shows what is so then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser.chromium import Browser
from tests.e2e.circle import Box, Loop, a_box

pytestmark = pytest.mark.slow

AWAY = r"ERR_CONNECTION|ERR_EMPTY_RESPONSE|WebSocket"
"""What a browser says on its console while nobody answers."""


@pytest.fixture
def box(tmp_path: Path, shop: tuple[Loop, Box]) -> Iterator[Box]:
    """One that may be killed."""
    with a_box(tmp_path, shop[0], environment={"RUNTIME": "onnx/cpu/1"}) as made:
        made.process.start()
        made.process.wait_until("/readyz")
        yield made


def test_a_page_survives_that_its_server_is_killed_and_shows_what_is_so_afterwards(box: Box, browser: Browser) -> None:
    browser.expect(AWAY)
    browser.go("/models")
    browser.until("the mode", lambda: browser.chosen("Which model serves") == "Follow the Loop")
    browser.run("window.before = true")

    box.process.kill()
    browser.sees("Connection lost")
    box.process.environment["VERSION_CONTROL_DEFAULT"] = "pause"  # it comes back as another
    box.process.start()
    box.process.wait_until("/readyz")
    browser.until("the new mode, by itself", lambda: browser.chosen("Which model serves") == "Pause", 60.0)
    browser.sees_no("Connection lost")

    # It is no picture of what is: what is pressed is done.
    browser.choose("Which model serves", "Follow the Loop")
    browser.until("the deed", lambda: box.versions()["version_control"] == "follow_loop")


def test_the_box_starts_anew_at_the_press_of_a_button_and_the_page_comes_back(box: Box, browser: Browser) -> None:
    browser.expect(AWAY)
    browser.go("/system")
    browser.press("Restart")
    browser.sees("Start the box anew?")
    browser.press("Restart now")
    browser.until("a new start", lambda: "starting anew" in box.process.log_text())
    box.process.wait_until("/readyz")
    browser.until("the page", browser.connected, 60.0)
    browser.sees("The machine", "The log")
    browser.sees_no("Connection lost")
    browser.go("/outbox")
    browser.choose("Sending", "Stopped")
    browser.until("the deed", lambda: box.http.get("/outbox_mode").text == "stopped")
