"""Models in a real browser: one is dropped, used and taken back; one is refused; the Loop's arrive by themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser.chromium import Browser
from tests.e2e.browser.conftest import a_shop
from tests.e2e.circle import SHOP, Box, Loop
from tests.service.bundles import document_of, model_zip, zip_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loop, Box]]:
    """One whose models may come and go."""
    with a_shop(tmp_path_factory.mktemp("shop")) as made:
        yield made


def zip_file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def serves(browser: Browser, version: str) -> bool:
    """Whether the page says that this version serves, in its list and in its tile."""
    cards = [card.text for card in browser.all("article.card")]
    [tile] = [each.text for each in browser.all(".tile") if each.text.startswith("Serves")]
    return any(card.startswith(f"{version}\n") and "serves" in card for card in cards) and tile.endswith(version)


def test_a_dropped_model_is_listed_used_and_rolled_back(box: Box, browser: Browser, tmp_path: Path) -> None:
    browser.go("/models")
    browser.until("the model that came along", lambda: serves(browser, "0.0"))

    browser.drop(zip_file(tmp_path, "kitchens.zip", model_zip("7.3")))
    browser.sees("The model is on this box. Press Use to have it serve.")
    browser.until("the model in the list", lambda: browser.find("//article[.//h3 = '7.3']"), 3.0)
    assert "7.3" in box.versions()["local_versions"]
    assert box.serves("0.0"), "it does not serve before somebody says so"

    browser.press("Use version 7.3")
    browser.until("7.3 on the page", lambda: serves(browser, "7.3"))
    assert box.serves("7.3")
    assert browser.chosen("Which model serves") == "This version"

    browser.press("Roll back to 0.0")
    browser.until("0.0 on the page", lambda: serves(browser, "0.0"))
    assert box.serves("0.0")

    browser.press("Remove version 7.3")
    browser.sees("Remove version 7.3?")
    browser.press("Remove it")
    browser.until("a list without it", lambda: "7.3" not in [each.text for each in browser.all("article h3")])
    assert "7.3" not in box.versions()["local_versions"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"This is no zip.", "zip"),
        (zip_of({"model.json": json.dumps(document_of("8.0"))}), "that model.json names is not in the bundle"),
    ],
    ids=["no zip", "no weights"],
)
def test_a_broken_model_is_refused_and_the_page_says_why(
    box: Box, browser: Browser, tmp_path: Path, data: bytes, words: str
) -> None:
    browser.expect(r"/api/v1/models.* 422 ")
    before = box.versions()["local_versions"]
    browser.go("/models")
    browser.give("Choose a zip", zip_file(tmp_path, "broken.zip", data))
    said = browser.until("a reason", lambda: [each.text for each in browser.all(".drop .wrong") if each.text])
    assert words in said[0]
    assert box.versions()["local_versions"] == before
    assert box.serves(box.versions()["current_version"])


def test_a_model_that_does_not_load_is_refused_when_it_shall_serve_and_the_page_says_why(
    box: Box, browser: Browser, tmp_path: Path
) -> None:
    browser.go("/models")
    before = box.versions()["current_version"]
    browser.give("Choose a zip", zip_file(tmp_path, "broken.zip", model_zip("8.1", weights=b"These are no weights.")))
    browser.press("Use version 8.1")
    card = "//article[.//h3 = '8.1']"
    browser.until(
        "a reason on its card",
        lambda: "failed" in browser.find(card).text and browser.find(f"{card}//*[@data-severity = 'warning']"),
    )
    browser.sees("onnx")
    assert box.serves(before)
    assert serves(browser, before)


def test_what_the_loop_deploys_arrives_on_the_open_page_and_what_is_broken_is_explained(
    box: Box, loop: Loop, browser: Browser
) -> None:
    box.http.put("/model_version", content="follow_loop").raise_for_status()
    browser.go("/models")
    first = loop.add_model("litert")
    loop.deploy(first)
    browser.until("the Loop's model on the page", lambda: serves(browser, "1.0"), 60.0)
    assert box.serves("1.0")
    browser.go("/")
    browser.sees("Detecting with model 1.0")

    document = {
        **document_of(None),
        "categories": [{"id": id, "name": name} for name, id in loop.category_ids().items()],
    }
    broken = zip_of({"model.json": json.dumps(document), "model_cpu.tflite": b"These are no weights."})
    before = {each["id"] for each in loop.ask("GET", f"{SHOP}/models")["models"]}
    loop.ask("POST", f"{SHOP}/litert", files={"files": ("model.zip", broken)})
    [second] = [each["id"] for each in loop.ask("GET", f"{SHOP}/models")["models"] if each["id"] not in before]
    loop.deploy(second)
    browser.go("/models")
    browser.sees("Version 2.0 was refused:", "What served before serves on.", seconds=60.0)
    assert box.serves("1.0")
