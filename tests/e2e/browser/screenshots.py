"""Takes the pictures that README.md shows: `python -m tests.e2e.browser.screenshots` writes them into docs/screenshots.

A box with a Loop is started, sees pictures that belong to everybody (see `pictures.py`), and is looked at by Chromium. The
tests take the same pictures into a folder of their own: nothing in the checkout changes unless somebody asks for it.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from PIL import Image

from tests.e2e.browser import pictures
from tests.e2e.browser.chromium import Browser
from tests.e2e.browser.conftest import a_shop
from tests.e2e.circle import Box, Loop, wait_for
from tests.service.photographs import CUP, PERSON

FOLDER = Path(__file__).parents[3] / "docs" / "screenshots"

NAMES = ("overview", "live", "models", "outbox", "phone")

MOST_BYTES = 300_000
"""A file may have so many: people read README.md over slow lines, too."""

COLOURS = 256

DESK = (1280, 800)
PHONE = (390, 844)

BETWEEN_PICTURES = 0.1
"""Seconds between two pictures of the cameras."""


def take_all(folder: Path, scratch: Path, seconds: float) -> list[Path]:
    """Write a PNG for each of `NAMES`. Cameras send pictures for so many seconds before: that is what the charts show."""
    folder.mkdir(parents=True, exist_ok=True)
    with a_shop(scratch) as (loop, box):
        _live_through(loop, box)
        browser = Browser(f"http://localhost:{box.process.port}", width=DESK[0], height=DESK[1])
        try:
            with _cameras(box):
                taken = _look_around(browser, box, folder, scratch, seconds)
            browser.check()
        finally:
            browser.close()
    return taken


def _live_through(loop: Loop, box: Box) -> None:
    """Two models come from the Loop, one after the other."""
    for version in ("1.0", "2.0"):
        loop.deploy(loop.add_model("litert"))
        wait_for(f"model {version}", lambda version=version: box.serves(version))  # type: ignore[misc]


def _look_around(browser: Browser, box: Box, folder: Path, scratch: Path, seconds: float) -> list[Path]:
    browser.cdp("Emulation.setScrollbarsHidden", hidden=True)
    browser.go("/")
    browser.until("three cameras", lambda: len(browser.all("article .mark")) >= 3)
    end = time.monotonic() + seconds
    browser.until("charts that are full", lambda: time.monotonic() > end, seconds + 1.0)
    taken = [_shoot(browser, folder / "overview.png"), _shoot(browser, folder / "phone.png", PHONE)]

    tried = scratch / "breakfast.jpg"
    tried.write_bytes(pictures.two())
    browser.go("/live")
    browser.drop(tried)
    browser.until("boxes", lambda: browser.all(".split .picture rect.line"))
    taken.append(_shoot(browser, folder / "live.png"))

    browser.go("/models")
    browser.until("the models", lambda: len(browser.all("article.card")) >= 3)
    taken.append(_shoot(browser, folder / "models.png"))

    box.http.put("/outbox_mode", content="stopped").raise_for_status()
    for jpeg in pictures.several(10):
        box.http.post("/upload", files={"files": jpeg}).raise_for_status()
    browser.go("/outbox")
    loaded = "return [...document.querySelectorAll('.gallery img')].filter((each) => each.naturalWidth > 0).length >= 8"
    browser.until("the pictures that wait", lambda: browser.run(loaded))
    taken.append(_shoot(browser, folder / "outbox.png"))
    return taken


@contextmanager
def _cameras(box: Box) -> Iterator[None]:
    """Three cameras that send what they see, again and again."""
    seen = {"front": pictures.two(), "gripper": CUP.jpeg, "rear": PERSON.jpeg}
    enough = Event()

    def send() -> None:
        while not enough.is_set():
            for camera, jpeg in seen.items():
                box.detect(jpeg, **{"camera-id": camera, "autoupload": "disabled"})
                enough.wait(BETWEEN_PICTURES)

    sending = Thread(target=send, name="cameras")
    sending.start()
    try:
        yield
    finally:
        enough.set()
        sending.join()


def _shoot(browser: Browser, path: Path, size: tuple[int, int] = DESK) -> Path:
    browser.resize(*size)
    browser.run("window.scrollTo(0, 0)")
    browser.until("a page without a message", lambda: browser.run("return !document.querySelector('.snackbar p')"))
    shot = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    shot.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=2).save(path, optimize=True)
    browser.resize(*DESK)
    return path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for written in take_all(FOLDER, Path(scratch), seconds=90.0):
            print(f"{written}: {written.stat().st_size} bytes")
