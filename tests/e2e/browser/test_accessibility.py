"""Whoever cannot see well, uses no mouse or a small telephone gets every page too: axe-core finds nothing serious on any.

Every page is looked at with nothing on it and with much, at the width of a telephone and of a desk, light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import selenium_axe_python.axe

from tests.e2e.browser import pictures
from tests.e2e.browser.chromium import Browser
from tests.e2e.browser.conftest import OpenBrowser, a_shop
from tests.e2e.browser.test_logins import PASSWORD, needs_an_address, own_address
from tests.e2e.circle import Box, Loop, a_box, wait_for
from tests.service.bundles import model_zip
from tests.service.photographs import CAT, CUP, MOTORCYCLE, PERSON

pytestmark = pytest.mark.slow

Axe: Any = selenium_axe_python.axe.Axe  # its methods carry no types

PAGES = ("/", "/live", "/models", "/outbox", "/system", "/settings")
WIDTHS = (360, 1440)
SERIOUS = {"serious", "critical"}


def complaints(browser: Browser) -> list[str]:
    """What axe-core finds serious on the page that is open, at every width and in both colour schemes."""
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    axe = Axe(browser.driver)
    axe.inject()
    found = []
    for width in WIDTHS:
        browser.resize(width, 900)
        wide = browser.run("return document.documentElement.scrollWidth")
        if wide > width:
            found.append(f"{width} px: the page is {wide} px wide")
        for dark in (False, True):
            browser.prefer(dark=dark)
            browser.until("the colours", lambda dark=dark: _is_dark(browser) is dark)  # type: ignore[misc]
            said = axe.run(options="{ resultTypes: ['violations'] }")
            where = f"{width} px, {'dark' if dark else 'light'}"
            found += [
                f"{where}: {each['id']} ({each['impact']}): {node['target']} {node['html'][:160]}\n    {node['failureSummary']}"
                for each in said["violations"]
                if each["impact"] in SERIOUS
                for node in each["nodes"][:5]
            ]
    return found


def _is_dark(browser: Browser) -> bool:
    return bool(browser.run("return document.documentElement.dataset.theme === 'dark'"))


def assert_nothing_serious(browser: Browser) -> None:
    found = complaints(browser)
    assert not found, "\n".join([f"On {browser.path}:", *found])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, shop: tuple[Loop, Box]) -> Iterator[Box]:
    """A box that has seen nothing yet, open to others and nobody's."""
    folder = tmp_path_factory.mktemp("empty")
    environment = {"RUNTIME": "onnx/cpu/1", "VERSION_CONTROL_DEFAULT": "pause"}
    with a_box(folder, shop[0], environment=environment, arguments=("--host", "0.0.0.0")) as box:
        box.process.start()
        box.process.wait_until("/readyz")
        yield box


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box with cameras, models that served, served not, and failed, pictures that wait, and an API key."""
    with a_shop(tmp_path_factory.mktemp("full")) as (_, box):
        fill(box)
        yield box


def fill(box: Box) -> None:
    """Let the box see, keep and be asked this and that."""
    http = box.http
    http.put("/outbox_mode", content="stopped").raise_for_status()
    for camera, photograph in (("front", PERSON), ("left arm", CUP), ("rear", MOTORCYCLE)):
        box.detect(photograph.jpeg, **{"camera-id": camera, "autoupload": "all"})
    for jpeg in (CAT.jpeg, CUP.jpeg, pictures.two()):
        http.post("/upload", files={"files": jpeg}).raise_for_status()
    [first, *_] = http.get("/api/v1/outbox/items").json()["items"]
    http.post(f"/api/v1/outbox/items/{first['id']}/prioritise").raise_for_status()
    for zipped in (model_zip("3.1"), model_zip("3.2", weights=b"These are no weights.")):
        http.post("/api/v1/models", files={"file": zipped}).raise_for_status()
    http.put("/model_version", content="3.1").raise_for_status()
    wait_for("version 3.1", lambda: box.serves("3.1"))
    http.put("/model_version", content="3.2").raise_for_status()
    wait_for("its failure", lambda: http.get("/api/v1/models").json()["failures"])


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_page_is_for_everybody(empty: Box, open_browser: OpenBrowser, page: str) -> None:
    browser = open_browser(f"http://localhost:{empty.process.port}")
    browser.go(page)
    assert_nothing_serious(browser)


@pytest.mark.parametrize("page", PAGES)
def test_a_full_page_is_for_everybody(full: Box, open_browser: OpenBrowser, page: str) -> None:
    browser = open_browser(f"http://localhost:{full.process.port}")
    browser.go(page)
    shown: dict[str, Callable[[], Any]] = {
        "/": lambda: browser.all("article .mark"),
        "/live": lambda: browser.all("article .mark"),
        "/models": lambda: browser.find("//*[contains(@class, 'chip') and . = 'failed']"),
        "/outbox": lambda: browser.all(".gallery img"),
    }
    browser.until("what fills the page", shown.get(page, lambda: True))
    assert_nothing_serious(browser)


def test_a_tried_picture_and_the_form_beside_it_are_for_everybody(
    full: Box, open_browser: OpenBrowser, tmp_path: Path
) -> None:
    picture = tmp_path / "four.jpg"
    picture.write_bytes(pictures.four())
    browser = open_browser(f"http://localhost:{full.process.port}")
    browser.go("/live")
    browser.drop(picture)
    browser.until("boxes", lambda: browser.all(".split .picture rect.line"))
    browser.press("The model missed something")
    browser.press("Put a box in the middle")
    browser.until("the box", lambda: browser.all(".drawn"))
    assert_nothing_serious(browser)


def test_a_picture_of_the_outbox_and_the_question_in_front_of_it_are_for_everybody(
    full: Box, open_browser: OpenBrowser
) -> None:
    browser = open_browser(f"http://localhost:{full.process.port}")
    browser.go("/outbox")
    browser.until("a picture", lambda: browser.find("//button[contains(@class, 'show')]")).click()
    browser.sees("Why it is here")
    assert_nothing_serious(browser)
    browser.press("Close")
    browser.sees_no("Why it is here")
    browser.press("Pick all on this page")
    browser.press("Delete")
    browser.sees("nobody can bring it back")
    assert_nothing_serious(browser)


@needs_an_address
def test_the_two_doors_are_for_everybody(empty: Box, open_browser: OpenBrowser) -> None:
    stranger = open_browser(f"http://{own_address()}:{empty.process.port}")
    stranger.expect(r"/api/v1/(login|claim).* 40[13] ")
    stranger.visit("/claim")
    stranger.sees("Claim this box")
    assert_nothing_serious(stranger)
    empty.http.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
    stranger.visit("/login")
    stranger.fill("Password", "not the password")
    stranger.press("Log in")
    stranger.sees("That is not the password.")
    assert_nothing_serious(stranger)
    empty.http.request("DELETE", "/api/v1/password").raise_for_status()
