"""What a visitor writes into a page stays there, whatever else changes on it meanwhile."""

from __future__ import annotations

import pytest

from tests.e2e.browser.chromium import Browser
from tests.e2e.circle import Box
from tests.service.photographs import CAT

pytestmark = pytest.mark.slow


def test_what_is_being_written_outlives_changes_of_the_page(box: Box, browser: Browser) -> None:
    box.http.put("/outbox_mode", content="continuous_upload").raise_for_status()
    browser.go("/settings")
    browser.fill("Name of a new key", "lift")

    box.http.put("/outbox_mode", content="stopped").raise_for_status()
    browser.sees("waiting, stopped")

    assert browser.labelled("Name of a new key").get_attribute("value") == "lift"
    box.http.put("/outbox_mode", content="continuous_upload").raise_for_status()


def test_a_camera_gets_a_name_with_the_keyboard_while_it_sends_pictures(box: Box, browser: Browser) -> None:
    browser.resize(360, 780)
    _look(box)
    browser.go("/")
    browser.press("Rename camera usb-0:1.2")
    browser.fill("Name of camera usb-0:1.2", "Front left")
    _look(box)
    browser.sees("just now")
    browser.press("Save")
    browser.sees("Camera usb-0:1.2 is called Front left now.")
    browser.until("its name", lambda: browser.find("//h3[normalize-space(.) = 'Front left']"))
    assert _names(box) == {"usb-0:1.2": "Front left"}
    browser.press("Undo")
    browser.until("the name before", lambda: browser.find("//h3[normalize-space(.) = 'usb-0:1.2']"))
    assert _names(box) == {}


def _look(box: Box) -> None:
    """A picture of the camera."""
    headers = {"camera-id": "usb-0:1.2", "autoupload": "disabled"}
    box.http.post("/detect", files={"file": CAT.jpeg}, headers=headers).raise_for_status()


def _names(box: Box) -> object:
    settings = box.http.get("/api/v1/settings").raise_for_status().json()
    return next(each["value"] for each in settings if each["name"] == "camera_names")
