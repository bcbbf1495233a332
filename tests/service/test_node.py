"""The node's own state over REST, as learning-loop-node offers it: about, versions, modes, logging, the backdoor, the docs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.box import Box
from tests.service.conftest import MakeBox
from tests.service.outbox import pictures_in
from tests.service.photographs import CAT

URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
"""What `curl -d` claims every body to be."""


def put(box: Box, path: str, word: str | bytes) -> Any:
    """PUT a word as curl does; status, and the answer if it is JSON."""
    answer = box.http.put(path, content=word, headers=URLENCODED)
    return answer.status_code, answer.json()


def test_about_has_what_upstream_tells_and_what_this_box_adds(box: Box) -> None:
    about = box.http.get("/about").json()

    assert (about["operation_mode"], about["state"], about["target_model"]) == ("idle", "online", None)
    assert about["version_control"] in {"follow_loop", "specific_version", "pause"}
    model = about["model_info"]
    assert (model["organization"], model["project"]) == ("detector-appliance", "everyday-objects")
    assert (model["version"], model["resolution"], len(model["categories"])) == ("0.0", 300, 80)
    assert set(model) >= {"id", "host", "model_root_path", "model_size", "conf_threshold"}
    assert (about["runtime"], about["degraded"], about["error"]) == ("onnx/cpu/1", None, None)


def test_model_version_without_a_loop(box: Box) -> None:
    assert box.http.get("/model_version").json() == {
        "current_version": "0.0",
        "target_version": "None",
        "loop_version": "None",
        "local_versions": ["0.0"],
        "version_control": "follow_loop",
    }


def test_modes_of_the_model_version_are_taken_as_curl_sends_them(box: Box) -> None:
    assert put(box, "/model_version", "pause") == (200, "OK")
    assert box.http.get("/model_version").json()["version_control"] == "pause"
    assert put(box, "/model_version", "follow_loop\n") == (200, "OK")
    assert box.http.get("/model_version").json()["version_control"] == "follow_loop"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("9.9", "Version 9.9 is not on this box; there are: 0.0"),
        ("latest", "'latest' is neither follow_loop nor pause nor a version such as 1.4"),
        ("", "'' is neither"),
        ("1..2", "'1..2' is neither"),
        ("../../etc", "is neither"),
    ],
)
def test_a_version_that_cannot_be_had_changes_nothing(box: Box, word: str, sentence: str) -> None:
    before = box.http.get("/model_version").json()

    status, answer = put(box, "/model_version", word)

    assert status == 400
    assert sentence in answer["detail"]
    assert box.http.get("/model_version").json() == before


def test_the_outbox_mode_is_plain_text(box: Box) -> None:
    answer = box.http.get("/outbox_mode")

    assert answer.text == "continuous_upload"
    assert answer.headers["content-type"].startswith("text/plain")


def test_the_outbox_can_be_stopped_and_started(box: Box) -> None:
    assert put(box, "/outbox_mode", "stopped") == (200, "OK")
    assert box.http.get("/outbox_mode").text == "stopped"
    assert put(box, "/outbox_mode", "continuous_upload") == (200, "OK")
    assert box.http.get("/outbox_mode").text == "continuous_upload"


def test_the_operation_mode_is_plain_text_and_can_be_changed(box: Box) -> None:
    assert put(box, "/operation_mode", "detecting") == (200, "OK")
    answer = box.http.get("/operation_mode")
    assert (answer.text, answer.headers["content-type"].split(";")[0]) == ("detecting", "text/plain")
    assert put(box, "/operation_mode", "idle") == (200, "OK")


@pytest.mark.parametrize(
    ("path", "word", "status"),
    [
        ("/outbox_mode", "halted", 422),
        ("/outbox_mode", "", 422),
        ("/operation_mode", "check_for_updates", 422),
        ("/operation_mode", "IDLE", 422),
        ("/debug_logging", "maybe", 400),
        ("/socketio", "", 400),
    ],
)
def test_an_unknown_word_is_refused_with_those_that_are_known(box: Box, path: str, word: str, status: int) -> None:
    found, answer = put(box, path, word)

    assert found == status
    assert re.search(r"continuous_upload|idle|on nor off", answer["detail"])


@pytest.mark.parametrize("path", ["/model_version", "/outbox_mode", "/operation_mode", "/debug_logging", "/socketio"])
def test_a_word_must_be_a_short_text(box: Box, path: str) -> None:
    assert put(box, path, b"\xff\xfe")[0] == 422
    assert put(box, path, "x" * 5000)[0] == 413


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, whose level is set back."""
    logger = logging.getLogger()
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_debug_logging_is_switched_on_and_off(box: Box, root_logger: logging.Logger) -> None:
    assert put(box, "/debug_logging", "on") == (200, "on")
    assert root_logger.level == logging.DEBUG
    assert put(box, "/debug_logging", "off") == (200, "off")
    assert root_logger.level == logging.INFO


def test_the_loop_of_a_test_can_pause_the_box(box: Box) -> None:
    assert put(box, "/socketio", "off") == (200, "off")
    assert put(box, "/socketio", "on") == (200, "on")


def test_there_is_no_backdoor_unless_it_was_asked_for(box: Box) -> None:
    assert box.http.post("/reset").status_code == 404
    assert "/reset" not in box.http.get("/openapi.json").json()["paths"]


def test_reset_brings_back_the_box_as_it_came(make_box: MakeBox, good_zip: bytes) -> None:
    box = make_box(use_backdoor_controls=True)
    box.http.post("/upload", files={"files": CAT.jpeg})
    box.http.post("/api/v1/models", files={"file": good_zip})
    put(box, "/model_version", "1.0")
    box.wait_until(lambda: box.http.get("/model_version").json()["current_version"] == "1.0")

    answer = box.http.post("/reset")

    assert (answer.status_code, answer.json()) == (200, True)
    assert pictures_in(box) == []
    version = box.http.get("/model_version").json()
    assert (version["current_version"], version["local_versions"]) == ("0.0", ["0.0"])
    assert version["version_control"] == "follow_loop"
    assert box.detects(CAT.jpeg)


def test_the_docs_need_nothing_but_this_box(box: Box) -> None:
    for page in ("/docs", "/redoc"):
        text = box.http.get(page).text
        references = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", text)
        assert references, f"{page} has no scripts"
        for reference in references:
            assert reference.startswith("/"), f"{page} takes {reference} from elsewhere"
            assert box.http.get(reference).status_code == 200
        assert not re.findall(r"""(?:url\(|import\s|["'])(?:https?:)?//""", text), f"{page} speaks to another host"


def test_every_route_is_described_with_an_example_to_paste(box: Box) -> None:
    paths = box.http.get("/openapi.json").json()["paths"]

    assert {"/detect", "/upload", "/about", "/model_version", "/outbox_mode", "/operation_mode"} <= set(paths)
    for path, methods in paths.items():
        for method, described in methods.items():
            assert "curl " in described["description"], f"{method} {path}"
