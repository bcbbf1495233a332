"""A picture is tried in a real browser: what is drawn is what curl is told; what the model missed is drawn and sent first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.browser import pictures
from tests.e2e.browser.chromium import Browser
from tests.e2e.circle import Box, Loop

pytestmark = pytest.mark.slow

TRIED = ".split .picture"
"""The picture that was tried; those of the cameras stand below."""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "four things.jpg"
    path.write_bytes(pictures.four())
    return path


def drawn(browser: Browser) -> list[str] | None:
    """The words at the boxes that are drawn over the picture; None while there is not one for each."""
    boxes, words = browser.run(
        """const all = (css) => [...document.querySelectorAll(arguments[0] + css)];
        return [all(" rect.line").length, all(" > .mark").map((each) => each.innerText)]""",
        TRIED,
    )
    return sorted(words) if boxes == len(words) else None


def listed(browser: Browser) -> list[str]:
    return sorted(each.text.replace("\n", " ") for each in browser.all(".found li"))


def found_by_curl(box: Box, picture: Path) -> list[dict[str, Any]]:
    return list(box.detect(picture.read_bytes(), autoupload="disabled")["box_detections"])


def in_words(detections: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{each['category_name']} {each['confidence']:.0%}" for each in detections)


def test_as_many_boxes_are_drawn_over_a_dropped_picture_as_curl_is_told(
    box: Box, browser: Browser, picture: Path
) -> None:
    expected = found_by_curl(box, picture)
    assert len(expected) > 2
    browser.go("/live")
    browser.drop(picture)
    browser.until("boxes", lambda: drawn(browser))
    assert drawn(browser) == in_words(expected)
    assert listed(browser) == in_words(expected)
    browser.sees(f"Found {len(expected)} in ", "The picture has 800 x 800 pixels.")

    # They lie where curl says, too: in shares of the picture, as it is smaller or larger on the screen.
    [frame] = browser.all(TRIED)
    shown = sorted(_shares(each.rect, frame.rect) for each in browser.all(f"{TRIED} rect.line"))
    told = sorted((each["x"] / 800, each["y"] / 800, each["width"] / 800, each["height"] / 800) for each in expected)
    for one, other in zip(shown, told, strict=True):
        assert one == pytest.approx(other, abs=0.02)


def _shares(rect: dict[str, float], frame: dict[str, float]) -> tuple[float, float, float, float]:
    return (
        (rect["x"] - frame["x"]) / frame["width"],
        (rect["y"] - frame["y"]) / frame["height"],
        rect["width"] / frame["width"],
        rect["height"] / frame["height"],
    )


def test_the_slider_hides_what_is_less_sure(box: Box, browser: Browser, picture: Path) -> None:
    expected = found_by_curl(box, picture)
    browser.go("/live")
    browser.give("Choose a picture", picture)
    browser.until("all boxes", lambda: drawn(browser) == in_words(expected))

    sure = [each for each in expected if each["confidence"] >= 0.8]
    assert 0 < len(sure) < len(expected)
    slider = browser.all("input[type=range]")[0]
    slider.send_keys(Keys.ARROW_RIGHT * 80)
    browser.sees("Show from a confidence of: 80%")
    browser.until("the sure ones alone", lambda: drawn(browser) == in_words(sure) == listed(browser))
    slider.send_keys(Keys.HOME)
    browser.until("all of them again", lambda: drawn(browser) == in_words(expected) == listed(browser))


def test_what_is_no_picture_is_told_where_it_was_dropped(browser: Browser, tmp_path: Path) -> None:
    text = tmp_path / "list.txt"
    text.write_text("milk, bread")
    browser.go("/live")
    browser.drop(text)
    said = browser.until("a reason", lambda: [each.text for each in browser.all(".wrong") if each.text])
    assert "picture" in said[0]
    assert not browser.all(TRIED)[0].is_displayed()


def test_what_the_model_missed_is_drawn_and_sent_first(box: Box, loop: Loop, browser: Browser, picture: Path) -> None:
    box.http.put("/outbox_mode", content="stopped").raise_for_status()
    browser.go("/live")
    browser.drop(picture)
    browser.press("The model missed something")
    [frame] = browser.until("the picture", lambda: browser.all(f"{TRIED}.drawing"))
    _drag(browser, frame, (0.10, 0.20), (0.60, 0.70))
    browser.sees("wide", "high")
    browser.fill("What it is", "cup")
    browser.press("Send it first")
    browser.sees("The missed cup will be sent first.")

    [waiting] = box.http.get("/api/v1/outbox/items").raise_for_status().json()["items"]
    whole = box.http.get(f"/api/v1/outbox/items/{waiting['id']}").raise_for_status().json()
    assert whole["queue"] == "priority"
    assert "missed_by_model" in whole["metadata"]["tags"]
    [said] = whole["metadata"]["box_annotations"]
    assert said["category_name"] == "cup"
    where = [said["x"], said["y"], said["width"], said["height"]]
    assert where == pytest.approx([80, 160, 400, 400], abs=8), "where the pointer was, in pixels of the picture"

    box.http.put("/outbox_mode", content="continuous_upload").raise_for_status()
    image = browser.until(
        "the picture in the Loop", lambda: [each for each in loop.images() if "missed_by_model" in each["tags"]]
    )[0]
    assert [each["category_name"] for each in image["box_annotations"]] == ["cup"]


def _drag(browser: Browser, frame: WebElement, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press at a place of an element, in shares of it, and let go at another."""
    browser.run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", frame)
    size = frame.size
    (x, y), (right, bottom) = ((size["width"] * (x - 0.5), size["height"] * (y - 0.5)) for x, y in (start, end))
    chain = ActionChains(browser.driver)
    chain.move_to_element_with_offset(frame, round(x), round(y)).click_and_hold()
    chain.move_by_offset(round((right - x) / 2), round((bottom - y) / 2)).move_to_element_with_offset(
        frame, round(right), round(bottom)
    )
    chain.release().perform()
