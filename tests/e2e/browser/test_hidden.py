"""A page that is put away is sent nothing, and shows what is so as soon as somebody looks at it again.

A second browser that is looked at tells when what changed has been shown: had the first one been told, it would show it too.
"""

from __future__ import annotations

import pytest

from tests.e2e.browser.chromium import Browser
from tests.e2e.browser.conftest import OpenBrowser
from tests.e2e.browser.test_switches import soon
from tests.e2e.circle import Box
from tests.service.photographs import CAT, CUP, PERSON

pytestmark = pytest.mark.slow

SENDING = "Sending"


@pytest.fixture
def two(open_browser: OpenBrowser, box: Box) -> tuple[Browser, Browser]:
    address = f"http://localhost:{box.process.port}"
    return open_browser(address), open_browser(address)


def test_a_page_that_is_put_away_is_told_nothing_until_somebody_looks_again(
    box: Box, two: tuple[Browser, Browser]
) -> None:
    away, watched = two
    box.http.put("/outbox_mode", content="continuous_upload").raise_for_status()
    for browser in two:
        browser.go("/outbox")
        browser.until("the mode", lambda browser=browser: browser.chosen(SENDING) == "Send")  # type: ignore[misc]
    away.put_away()
    for word, label in (("stopped", "Stopped"), ("continuous_upload", "Send"), ("stopped", "Stopped")):
        box.http.put("/outbox_mode", content=word).raise_for_status()
        watched.until(f"{label}, where somebody looks", lambda label=label: watched.chosen(SENDING) == label)  # type: ignore[misc]
    assert away.chosen(SENDING) == "Send", "nobody looks, so nothing is sent"

    away.look_again()
    away.until("what is so now", lambda: away.chosen(SENDING) == "Stopped", soon())
    away.choose(SENDING, "Send")
    away.until("what was pressed", lambda: box.http.get("/outbox_mode").text == "continuous_upload")


def test_a_page_that_is_put_away_fetches_no_pictures_of_cameras(box: Box, two: tuple[Browser, Browser]) -> None:
    away, watched = two
    box.detect(CAT.jpeg, **{"camera-id": "front", "autoupload": "disabled"})
    for browser in two:
        browser.go("/")
        browser.until("the cat", lambda browser=browser: _shows(browser, "cat"))  # type: ignore[misc]
    away.put_away()
    before = _pictures(away)
    for photograph in (CUP, CAT, PERSON):
        box.detect(photograph.jpeg, **{"camera-id": "front", "autoupload": "disabled"})
        watched.until(f"the {photograph.shows}", lambda shows=photograph.shows: _shows(watched, shows))  # type: ignore[misc]
    assert _pictures(away) == before

    away.look_again()
    away.until("the person", lambda: _shows(away, "person"), soon())
    assert _pictures(away) == before + 1, "the newest alone"


def _shows(browser: Browser, what: str) -> bool:
    """Whether the picture of a camera with that in it is on the page."""
    return any(what in (each.get_attribute("alt") or "") for each in browser.all("article .picture > img"))


def _pictures(browser: Browser) -> int:
    return len([url for url in browser.requests() if "/pictures/seen/" in url])
