"""The two mode switches in a real browser: what is tapped is what curl says, and what curl does is what the page shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from tests.e2e.browser.chromium import Browser
from tests.e2e.browser.conftest import OpenBrowser
from tests.e2e.circle import Box

pytestmark = pytest.mark.slow

MODEL, OUTBOX = "Which model serves", "Sending"


def soon() -> float:
    """Seconds within which a page shows what was changed elsewhere; more while others keep the processors busy."""
    return 2.0 if os.getloadavg()[0] < (os.cpu_count() or 1) else 5.0


def version_control(box: Box) -> str:
    return str(box.versions()["version_control"])


def outbox_mode(box: Box) -> str:
    return box.http.get("/outbox_mode").text


def put(box: Box, path: str, word: str) -> None:
    box.http.put(path, content=word).raise_for_status()


def test_a_tap_on_the_model_switch_is_what_curl_says(box: Box, browser: Browser) -> None:
    browser.go("/models")
    for label, word in (("Pause", "pause"), ("This version", "specific_version"), ("Follow the Loop", "follow_loop")):
        browser.choose(MODEL, label)
        browser.until(f"{word} by curl", lambda word=word: version_control(box) == word)  # type: ignore[misc]
        browser.until(f"{label} on the page", lambda label=label: browser.chosen(MODEL) == label)  # type: ignore[misc]


def test_what_was_tapped_is_taken_back_with_undo(box: Box, browser: Browser) -> None:
    put(box, "/model_version", "follow_loop")
    browser.go("/models")
    browser.choose(MODEL, "Pause")
    browser.until("pause by curl", lambda: version_control(box) == "pause")
    browser.press("Undo")
    browser.until("follow_loop by curl", lambda: version_control(box) == "follow_loop")
    browser.until("the switch to go back", lambda: browser.chosen(MODEL) == "Follow the Loop")


def test_a_tap_on_the_outbox_switch_is_what_curl_says(box: Box, browser: Browser) -> None:
    browser.go("/outbox")
    for label, word in (("Stopped", "stopped"), ("Send", "continuous_upload")):
        browser.choose(OUTBOX, label)
        browser.until(f"{word} by curl", lambda word=word: outbox_mode(box) == word)  # type: ignore[misc]
        browser.until(f"{label} on the page", lambda label=label: browser.chosen(OUTBOX) == label)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("page", "switch", "route", "changes"),
    [
        ("/models", MODEL, "/model_version", [("pause", "Pause"), ("0.0", "This version"), ("follow_loop", "Follow the Loop")]),
        ("/outbox", OUTBOX, "/outbox_mode", [("stopped", "Stopped"), ("continuous_upload", "Send")]),
    ],
)  # fmt: skip
def test_what_curl_changes_shows_within_two_seconds_without_a_reload(
    box: Box,
    browser: Browser,
    measured: Callable[[str], None],
    page: str,
    switch: str,
    route: str,
    changes: list[tuple[str, str]],
) -> None:
    browser.go(page)
    browser.run("window.neverReloaded = true")
    for word, label in changes:
        began = time.monotonic()
        put(box, route, word)
        browser.until(f"{label} on {page}", lambda label=label: browser.chosen(switch) == label, soon())  # type: ignore[misc]
        measured(f"PUT {route} {word}: shown after {time.monotonic() - began:.2f} s")
    assert browser.run("return window.neverReloaded") is True


def test_two_browsers_show_what_one_of_them_switched(box: Box, open_browser: OpenBrowser) -> None:
    address = f"http://localhost:{box.process.port}"
    one, other = open_browser(address), open_browser(address, width=360, height=780)
    for browser in (one, other):
        browser.go("/outbox")
    one.choose(OUTBOX, "Stopped")
    other.until("the other's switch", lambda: other.chosen(OUTBOX) == "Stopped", soon())
    other.choose(OUTBOX, "Send")
    one.until("the one's switch", lambda: one.chosen(OUTBOX) == "Send", soon())
