"""The outbox in a real browser: what waits is seen, and deleted only after a question."""

from __future__ import annotations

import pytest

from tests.e2e.browser import pictures
from tests.e2e.browser.chromium import Browser
from tests.e2e.circle import Box
from tests.service.photographs import CAT, CUP

pytestmark = pytest.mark.slow


def waiting(box: Box) -> int:
    return int(box.http.get("/api/v1/outbox").raise_for_status().json()["waiting"])


def tile(browser: Browser, name: str) -> str:
    """The number on the tile of that name."""
    [found] = [each for each in browser.all(".tile") if each.text.startswith(f"{name}\n")]
    return found.text.split("\n")[1]


def thumbs(browser: Browser) -> int:
    return len([each for each in browser.all(".gallery .thumb") if each.is_displayed()])


def test_pictures_are_deleted_after_a_question_and_the_count_follows(box: Box, browser: Browser) -> None:
    box.http.put("/outbox_mode", content="stopped").raise_for_status()
    box.http.delete("/api/v1/outbox/items").raise_for_status()
    browser.go("/outbox")
    browser.sees("Nothing waits.")
    for jpeg in (CAT.jpeg, CUP.jpeg, pictures.two()):
        box.http.post("/upload", files={"files": jpeg}).raise_for_status()
    browser.until("three pictures", lambda: thumbs(browser) == 3)
    browser.until("their number", lambda: tile(browser, "Waiting") == "3")
    loaded = (
        "return [...document.querySelectorAll('.gallery img')].every((each) => each.complete && each.naturalWidth > 0)"
    )
    browser.until("the pictures themselves", lambda: browser.run(loaded))

    browser.all(".gallery .pick")[0].click()
    browser.sees("1 picked")
    browser.press("Delete")
    browser.sees("Delete this picture?", "nobody can bring it back")
    browser.press("Cancel")
    browser.sees_no("Delete this picture?")
    assert waiting(box) == 3

    browser.press("Delete")
    browser.sees("Delete this picture?")
    browser.until(
        "the button in the question", lambda: browser.find("//*[@role = 'dialog']//button[. = 'Delete']")
    ).click()
    browser.sees("1 picture deleted.")
    browser.until("two pictures", lambda: thumbs(browser) == 2 and tile(browser, "Waiting") == "2")
    assert waiting(box) == 2

    browser.press("Pick all on this page")
    browser.sees("2 picked")
    browser.press("Delete")
    browser.sees("Delete 2 pictures?")
    browser.until(
        "the button in the question", lambda: browser.find("//*[@role = 'dialog']//button[. = 'Delete']")
    ).click()
    browser.sees("Nothing waits.")
    assert waiting(box) == 0


def test_what_curl_deletes_goes_from_the_page(box: Box, browser: Browser) -> None:
    box.http.put("/outbox_mode", content="stopped").raise_for_status()
    box.http.post("/upload", files={"files": CAT.jpeg}).raise_for_status()
    browser.go("/outbox")
    browser.until("the picture", lambda: thumbs(browser) == 1)
    box.http.delete("/api/v1/outbox/items").raise_for_status()
    browser.sees("Nothing waits.")
    assert tile(browser, "Waiting") == "0"


def test_what_was_stopped_goes_to_the_loop_when_it_may_again(box: Box, browser: Browser) -> None:
    box.http.put("/outbox_mode", content="stopped").raise_for_status()
    box.http.post("/upload", files={"files": CUP.jpeg}).raise_for_status()
    browser.go("/outbox")
    browser.until("the picture", lambda: thumbs(browser) == 1)
    browser.choose("Sending", "Send")
    browser.sees("Nothing waits.")
    assert waiting(box) == 0
