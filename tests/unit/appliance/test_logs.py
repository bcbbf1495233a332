"""What the log looks like, for people and for collectors."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from appliance import logs
from models.errors import InvalidInput


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_text_is_one_readable_line() -> None:
    out = io.StringIO()
    logs.configure("INFO", "text", out)
    logging.getLogger("appliance.outbox").warning("%d pictures wait", 7, extra={"camera": "left"})
    line = out.getvalue()
    assert line.endswith(" WARNING appliance.outbox: 7 pictures wait camera=left\n")
    assert "\x1b" not in line


def test_colour_is_for_terminals() -> None:
    out = Terminal()
    logs.configure("INFO", "text", out)
    logging.getLogger("appliance").error("broken")
    assert out.getvalue().startswith("\x1b[31m")
    assert out.getvalue().endswith("\x1b[0m\n")


def test_a_strangers_text_cannot_forge_a_line_or_steer_the_terminal() -> None:
    out = io.StringIO()
    logs.configure("INFO", "text", out)
    logging.getLogger("appliance").info("camera %s", "x\n2026-01-01 00:00:00 ERROR forged\x1b[2J\r")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1] == "    2026-01-01 00:00:00 ERROR forged\\x1b[2J\\x0d"


def test_json_is_one_object_per_line_with_everything_in_it() -> None:
    out = io.StringIO()
    logs.configure("INFO", "json", out)
    try:
        raise ValueError("no such thing\nat all")
    except ValueError:
        logging.getLogger("appliance.detecting").exception("failed", extra={"camera": "left", "ms": 3.5, "level": "x"})
    (line,) = out.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["level"] == "ERROR"
    assert entry["logger"] == "appliance.detecting"
    assert entry["message"] == "failed"
    assert entry["camera"] == "left"
    assert entry["ms"] == 3.5
    assert "ValueError: no such thing" in entry["exception"]
    assert entry["time"].endswith("+00:00")


def test_what_json_cannot_say_is_logged_as_text() -> None:
    out = io.StringIO()
    logs.configure("INFO", "json", out)
    logging.getLogger("appliance").info("odd", extra={"score": float("nan"), "what": {1, 2}})
    entry = json.loads(out.getvalue())
    assert entry["score"] == "nan"
    assert entry["what"] == "{1, 2}"


def test_uvicorn_writes_like_everything_else_and_single_requests_are_not_logged() -> None:
    uvicorns_own, out = io.StringIO(), io.StringIO()
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(uvicorns_own))
    logs.configure("INFO", "json", out)
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[36mStarted"})
    logging.getLogger("uvicorn.access").info("GET /about 200")
    logging.getLogger("httpx").info("HTTP Request: GET")
    entries = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(entry["logger"], entry["message"]) for entry in entries] == [("uvicorn.error", "Started")]
    assert "color_message" not in entries[0]
    assert uvicorns_own.getvalue() == ""


def test_while_debugging_requests_are_logged() -> None:
    out = io.StringIO()
    logs.configure("DEBUG", "text", out)
    logging.getLogger("uvicorn.access").info("GET /about 200")
    assert "GET /about 200" in out.getvalue()


def test_configured_again_nothing_is_written_twice() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure("INFO", "text", first)
    logs.configure("INFO", "text", second)
    logging.getLogger("appliance").info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_warnings_of_libraries_land_in_the_log() -> None:
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logs.configure("INFO", "text", out)
        warnings.warn("this is going away", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "py.warnings" in out.getvalue()
    assert "this is going away" in out.getvalue()


@pytest.fixture
def remembering() -> Iterator[logs.RecentLines]:
    recent = logs.RecentLines(most=5, longest=100)
    logging.getLogger().setLevel("DEBUG")
    recent.begin()
    yield recent
    recent.end()


def test_the_last_lines_are_remembered_and_older_ones_make_room(remembering: logs.RecentLines) -> None:
    assert remembering.newest == 0
    for number in range(8):
        logging.getLogger("appliance.outbox").info("picture %d", number)

    assert [line.text for line in remembering.lines()] == [f"picture {number}" for number in range(3, 8)]
    assert [line.text for line in remembering.lines(limit=2)] == ["picture 6", "picture 7"]
    assert remembering.newest == 8


def test_lines_are_found_by_level_and_by_words(remembering: logs.RecentLines) -> None:
    logging.getLogger("appliance.outbox").debug("sent")
    logging.getLogger("appliance.outbox").warning("The Loop is AWAY")
    logging.getLogger("models").critical("gone")

    assert [line.text for line in remembering.lines("WARNING")] == ["The Loop is AWAY", "gone"]
    assert [line.text for line in remembering.lines("ERROR")] == ["gone"]
    assert [line.text for line in remembering.lines(contains="away")] == ["The Loop is AWAY"]
    assert [line.text for line in remembering.lines(contains="OUTBOX")] == ["sent", "The Loop is AWAY"]


def test_a_line_that_is_too_long_is_cut_and_control_characters_are_text(remembering: logs.RecentLines) -> None:
    logging.getLogger().info("x" * 1000)
    logging.getLogger().info("\x1b[2J")
    try:
        raise ValueError("this went wrong")
    except ValueError:
        logging.getLogger().exception("sad")

    long, steering, sad = remembering.lines()
    assert long.text == "x" * 100 + " … (1000 characters)"
    assert steering.text == "\\x1b[2J"
    assert "\n    Traceback" in sad.text
    assert str(steering).endswith("INFO    root: \\x1b[2J")


def test_nothing_is_remembered_after_the_end(remembering: logs.RecentLines) -> None:
    remembering.end()
    logging.getLogger().error("too late")

    assert remembering.lines() == []


def test_a_level_is_understood_in_any_case_and_nothing_else_is() -> None:
    assert logs.parse_level(" warning ") == "WARNING"
    with pytest.raises(InvalidInput, match="DEBUG, INFO, WARNING, ERROR"):
        logs.parse_level("LOUD")


def test_single_web_sockets_are_no_news_but_their_failures_are() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "text", stream)
    server = logging.getLogger("uvicorn.error")

    server.info('%s - "WebSocket %s" [accepted]', "127.0.0.1:1", "/ws/socket.io")
    server.info("connection open")
    server.info("Application startup complete.")
    server.error("connection open")
    logging.getLogger().setLevel("DEBUG")
    server.info("connection closed")

    assert [line.partition("uvicorn.error: ")[2] for line in stream.getvalue().splitlines()] == [
        "Application startup complete.",
        "connection open",
        "connection closed",
    ]
