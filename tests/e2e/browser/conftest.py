"""A box with its Loop, and browsers in front of it. Every test ends with a look at what the browsers complained of."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException

from tests.e2e.browser.chromium import Browser, missing
from tests.e2e.circle import Box, Loop, a_box, a_loop
from tests.service.bundles import seed_document

OpenBrowser = Callable[..., Browser]
"""What the fixture `open_browser` is."""

HERE = Path(__file__).parent
BROWSERS = pytest.StashKey[list[Browser]]()
LEFT_OUT = pytest.StashKey[int]()
MEASURED = pytest.StashKey[list[str]]()


@pytest.hookimpl(trylast=True)  # what other options leave out would not have run anyway
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All of this needs Chromium; a machine without it is told so at the end of the run."""
    here = [item for item in items if HERE in item.path.parents]
    if here and missing():
        config.stash[LEFT_OUT] = len(here)
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was left out and how to have it, and what was measured."""
    left_out = config.stash.get(LEFT_OUT, 0)
    if left_out:
        terminalreporter.section("not run")
        terminalreporter.line(
            f"{left_out} tests in a real browser: this machine lacks {' and '.join(missing())}. "
            f"Have them: sudo apt-get install {' '.join(missing())}, or ./install.sh test --system"
        )
    measured = config.stash.get(MEASURED, [])
    if measured:
        terminalreporter.section("from curl to the page")
        for line in measured:
            terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Whatever a test is about: no page may report an error, or ask anybody but the box."""
    try:
        outcome = yield
        for browser in item.stash.get(BROWSERS, []):
            browser.check()
    except BaseException:
        _keep(item)
        raise
    return outcome


def _keep(item: pytest.Item) -> None:
    """What the browsers of a failed test show, beside its message."""
    browsers = item.stash.get(BROWSERS, [])
    folder: Path | None = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is None:
        return
    for number, browser in enumerate(browsers, 1):
        try:
            kept = browser.keep(folder, f"browser-{number}")
        except WebDriverException as error:
            item.add_report_section("call", "browser", f"browser {number} does not answer: {error.msg}")
        else:
            item.add_report_section("call", "browser", "\n".join(map(str, kept)))


@pytest.fixture
def open_browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenBrowser]:
    """Opens a browser with a profile of its own, without cookies: `open_browser(address, width=360, dark=True)`."""
    opened: list[Browser] = request.node.stash.setdefault(BROWSERS, [])

    def open_one(address: str, **options: Any) -> Browser:
        browser = Browser(address, **options)
        opened.append(browser)
        return browser

    yield open_one
    for browser in opened:
        browser.close()


@contextmanager
def a_shop(folder: Path) -> Iterator[tuple[Loop, Box]]:
    """A Loop with a project, and a box that follows it, ready to detect with the model that came along."""
    with a_loop(folder) as loop, a_box(folder, loop, environment={"RUNTIME": "onnx/cpu/1"}) as box:
        loop.make_project([category["name"] for category in seed_document()["categories"]])
        box.process.start()
        box.process.wait_until("/readyz")
        yield loop, box


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loop, Box]]:
    """The one for all stories that leave the models alone; modes and outbox are as the story before left them."""
    with a_shop(tmp_path_factory.mktemp("shop")) as made:
        yield made


@pytest.fixture
def loop(shop: tuple[Loop, Box]) -> Loop:
    """The Loop of the shop."""
    return shop[0]


@pytest.fixture
def box(shop: tuple[Loop, Box]) -> Box:
    """The box of the shop."""
    return shop[1]


@pytest.fixture
def browser(open_browser: OpenBrowser, box: Box) -> Browser:
    """A browser on the box itself, which may do everything."""
    return open_browser(f"http://localhost:{box.process.port}")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a line for the end of the run."""
    lines = request.config.stash.setdefault(MEASURED, [])
    return lines.append
