"""Debian's Chromium, as whoever sits in front of a page uses it: looks for words, presses, drops files, and waits.

Nothing here sleeps for a fixed time: every look is repeated until it shows what is waited for. Each browser has a profile of
its own, its own traffic is switched off, and no name but that of the box can be resolved in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a page may take for what has no deadline of its own: other work may keep the processors busy."""

BETWEEN_LOOKS = 0.02
"""Seconds."""

FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-features=AutofillServerCommunication,CertificateTransparencyComponentUpdater,InterestFeedContentSuggestions,"
    "MediaRouter,OptimizationHints,PasswordLeakDetection,Translate",
    "--metrics-recording-only",
    "--password-store=basic",
)

_NOT_YET = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
"""What a page that is still changing answers; the next look may find it ready."""


def missing() -> list[str]:
    """The Debian packages that these tests need and this machine has not."""
    return [package for package, program in _PROGRAMS.items() if shutil.which(program) is None]


_PROGRAMS = {"chromium": "chromium", "chromium-driver": "chromedriver"}


class Browser:
    """One browser with a profile of its own, looking at the box at `address` (`http://host:port`).

    `width` is that of the window in CSS pixels.
    """

    def __init__(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.address = address
        os.environ["SE_OFFLINE"] = "true"  # selenium would look for browsers to download
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert chromium, "chromium is not installed"
        assert driver, "chromium-driver is not installed"
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in FLAGS:
            options.add_argument(flag)
        options.add_argument(f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {urlsplit(address).hostname}")
        options.add_argument(f"--window-size={width},{height}")
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium refuses its sandbox to root, as in containers
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(driver))
        self._expected: list[re.Pattern[str]] = []
        self._severe: list[str] = []
        self._asked: list[str] = []
        self.resize(width, height)
        self.prefer(dark=dark)

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    # ------------------------------------------------------------------ how it looks

    def resize(self, width: int, height: int) -> None:
        """Make the page so many CSS pixels wide and high; below 500 no window can be."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def prefer(self, *, dark: bool) -> None:
        """Like light or dark colours."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme, still])

    def put_away(self) -> None:
        """Minimise the window: the page is hidden, as behind another tab or on a locked telephone."""
        self._window("minimized", hidden=True)

    def look_again(self) -> None:
        """Bring the window back."""
        self._window("normal", hidden=False)

    def _window(self, state: str, *, hidden: bool) -> None:
        window = self.cdp("Browser.getWindowForTarget")["windowId"]
        self.cdp("Browser.setWindowBounds", windowId=window, bounds={"windowState": state})
        self.until(f"a {state} window", lambda: self.run("return document.hidden") is hidden)

    def cdp(self, command: str, **arguments: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    # ------------------------------------------------------------------ looking

    def go(self, path: str) -> None:
        """Open a page of the dashboard, and wait until the box can tell it what changes."""
        self.driver.get(self.address + path)
        self.until(f"a connection of {path}", self.connected)

    def visit(self, path: str) -> None:
        """Open whatever is there."""
        self.driver.get(self.address + path)

    def connected(self) -> bool:
        """Whether the page hears of changes."""
        return bool(
            self.run("return Boolean(window.socket && window.socket.connected && document.querySelector('h1'))")
        )

    @property
    def path(self) -> str:
        """The path of the page that is open."""
        return urlsplit(self.driver.current_url).path

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script's `return`."""
        return self.driver.execute_script(script, *arguments)

    def text(self) -> str:
        """Everything that can be read on the page."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def until(self, what: str, found: Callable[[], T], seconds: float = PATIENCE) -> T:
        """The first answer of `found` that is not empty. Raises AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        last: Exception | None = None
        while True:
            try:
                value = found()
            except _NOT_YET as error:
                last = error
            else:
                if value:
                    return value
            if time.monotonic() > deadline:
                said = f" ({type(last).__name__}: {str(last).splitlines()[0]})" if last else ""
                raise AssertionError(f"{what} did not come about within {seconds:g} s{said}")
            time.sleep(BETWEEN_LOOKS)

    def sees(self, *words: str, seconds: float = PATIENCE) -> None:
        """Wait until all that can be read."""
        for each in words:
            self.until(f"the words {each!r}", lambda each=each: each in self.text(), seconds)  # type: ignore[misc]

    def sees_no(self, words: str, seconds: float = PATIENCE) -> None:
        """Wait until that cannot be read any more."""
        self.until(f"a page without {words!r}", lambda: words not in self.text(), seconds)

    def find(self, xpath: str, within: WebElement | None = None) -> WebElement:
        """The first visible element of an XPath."""
        for each in (within or self.driver).find_elements(By.XPATH, xpath):
            if each.is_displayed():
                return each
        raise NoSuchElementException(f"nothing visible is at {xpath}")

    def all(self, css: str) -> list[WebElement]:
        """Every element of a CSS selector."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    # ------------------------------------------------------------------ doing

    def press(self, name: str) -> None:
        """Press the button or link with exactly these words, those for screen readers included."""
        xpath = f"//*[(self::button or self::a) and {_UNSPACED} = {_quoted(_unspaced(name))}]"
        self.until(f"a button {name!r} that can be pressed", lambda: self._clicked(xpath))

    def choose(self, group: str, option: str) -> None:
        """Put a switch with several positions, named by its legend, to one of them."""
        legend = f"normalize-space(./legend) = {_quoted(group)}"
        xpath = f"//fieldset[{legend}]//label[normalize-space(.) = {_quoted(option)}]"
        self.until(f"{option!r} of {group!r}", lambda: self._clicked(xpath))

    def chosen(self, group: str) -> str | None:
        """The position of such a switch, as the page says it; None while it is on its way."""
        script = """
            const found = [...document.querySelectorAll("fieldset")].find((each) => each.querySelector("legend").innerText.trim() === arguments[0]);
            if (!found || found.getAttribute("aria-busy") === "true") return null;
            const pressed = found.querySelector("input:checked");
            return pressed && pressed.parentElement.classList.contains("chosen") ? pressed.parentElement.innerText.trim() : null;
        """  # noqa: E501
        said = self.run(script, group)
        return str(said) if said is not None else None

    def fill(self, label: str, text: str) -> None:
        """Write into the field with this label."""
        element = self.until(f"a field {label!r}", lambda: self.labelled(label))
        element.clear()
        element.send_keys(text)

    def labelled(self, label: str) -> WebElement:
        """The control that this label names."""
        found = self.find(f"//label[normalize-space(.) = {_quoted(label)}]")
        named = found.get_attribute("for")
        return self.find(f"//*[@id = {_quoted(named)}]") if named else self.find(".//input | .//select", found)

    def drop(self, file: Path, on: str = ".drop") -> None:
        """Drag a file from outside onto the page, and let it go over an element."""
        [target] = self.until(f"a place {on}", lambda: self.all(on))
        self._into_view(target)
        x, y = self.run(
            "const r = arguments[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]", target
        )
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for step in ("dragEnter", "dragOver", "drop"):
            self.cdp("Input.dispatchDragEvent", type=step, x=x, y=y, data=data)

    def give(self, label: str, file: Path) -> None:
        """Choose a file with the button of that name."""
        chooser = f"input[type=file][aria-label={json.dumps(label)}]"
        [control] = self.until(f"a button {label!r} for a file", lambda: self.all(chooser))
        control.send_keys(str(file))

    def _clicked(self, xpath: str) -> bool:
        element = self.find(xpath)
        if not element.is_enabled():
            return False
        self._into_view(element)
        element.click()
        return True

    def _into_view(self, element: WebElement) -> None:
        self.run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", element)

    # ------------------------------------------------------------------ what must not be

    def expect(self, pattern: str) -> None:
        """An error of this kind (a regular expression) on the console belongs to the story."""
        self._expected.append(re.compile(pattern))

    def check(self) -> None:
        """Raise AssertionError where a page reported an error that no story explains, or asked anybody but the box."""
        self._read_logs()
        assert self._asked, "the browser tells of no request at all, so it would not tell of one that left either"
        own = urlsplit(self.address).netloc
        foreign = sorted({url for url in self._asked if urlsplit(url).netloc != own})
        unexplained = [each for each in self._severe if not any(pattern.search(each) for pattern in self._expected)]
        problems = [f"asked somebody else: {url}" for url in foreign] + [f"console: {each}" for each in unexplained]
        assert not problems, "\n".join(["The pages were not as they have to be.", *problems])

    def requests(self) -> list[str]:
        """The addresses that were asked so far, web sockets included."""
        self._read_logs()
        return list(self._asked)

    def _read_logs(self) -> None:
        driver: Any = self.driver
        self._severe += [each["message"] for each in driver.get_log("browser") if each["level"] == "SEVERE"]
        for entry in driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._asked.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                self._asked.append(message["params"]["url"])
        self._asked = [url for url in self._asked if urlsplit(url).scheme in {"http", "https", "ws", "wss"}]

    def keep(self, folder: Path, name: str) -> list[Path]:
        """Write down how the page looks; where."""
        picture, source = folder / f"{name}.png", folder / f"{name}.html"
        picture.write_bytes(self.driver.get_screenshot_as_png())
        source.write_text(self.driver.page_source)
        return [picture, source]


_UNSPACED = "translate(normalize-space(.), ' ', '')"
"""What is read out stands in a place of its own behind what is seen; between the two is no space to be found."""


def _unspaced(text: str) -> str:
    return text.replace(" ", "")


def _quoted(text: str) -> str:
    """As a string of XPath, which knows no escapes."""
    if "'" not in text:
        return f"'{text}'"
    return "concat(" + ', "\'", '.join(f"'{part}'" for part in text.split("'")) + ")"
