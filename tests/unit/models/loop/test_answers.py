"""What answers mean: the Loop's own words, and when to come again."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest

from models.errors import LoopBusy
from models.loop.answers import LONGEST_RETRY_AFTER_S, Answer, failure, retry_after, words_of

NOW = 1_700_000_000.0


def date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0),
        ({"retry-after": " 30 "}, 30),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "86400"}, LONGEST_RETRY_AFTER_S),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "\u0663"}, None),
        ({"retry-after": date(NOW + 90)}, 90),
        ({"retry-after": date(NOW - 90)}, 0),
        ({"retry-after": date(NOW + 1e7)}, LONGEST_RETRY_AFTER_S),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after": date(NOW + 90), "date": date(NOW + 60)}, 30),
        ({"retry-after": date(NOW + 90), "date": "today"}, 90),
    ],
)
def test_when_to_come_again(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, wall_clock=NOW) == seconds


def test_a_date_is_understood_by_a_box_whose_clock_is_a_year_off() -> None:
    headers = {"retry-after": date(NOW + 45), "date": date(NOW)}
    assert retry_after(headers, wall_clock=NOW - 365 * 86400) == 45


def answer(status: int, body: bytes, kind: str = "application/json") -> Answer:
    return Answer("http://loop.example", status, {"content-type": kind}, body)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"detail": "no such project"}, "no such project"),
        ({"detail": [{"loc": ["body", "files", 0], "msg": "field required"}]}, "body files 0: field required"),
        ({"detail": [{"msg": "one"}, "two"]}, "one; two"),
        ({"detail": {"id": "abc"}}, '{"id": "abc"}'),
        ({"error": "full"}, "full"),
        ({"message": "full"}, "full"),
        ({"other": 1}, '{"other": 1}'),
        ({"detail": ""}, ""),
        ([], ""),
        ("just text", "just text"),
        (None, "null"),
    ],
)
def test_the_loops_own_words_are_found(document: Any, words: str) -> None:
    assert words_of(answer(400, json.dumps(document).encode())) == words


def test_words_are_short_and_steer_no_terminal() -> None:
    long = words_of(answer(400, json.dumps({"detail": "\x1b[31mred\x1b[0m\n\n" + "ä" * 10_000}).encode()))
    assert len(long) == 300
    assert long.startswith("[31mred [0m ää")
    assert long.endswith("…")
    assert words_of(answer(500, b"Internal \xff Error", "text/plain")) == "Internal \ufffd Error"
    assert words_of(answer(502, b"<html><TITLE lang=en>502 Bad&nbsp;Gateway</TITLE>" + b"x" * 100_000)) == (
        "502 Bad Gateway"
    )
    assert words_of(answer(500, b"[" * 100_000)).startswith("[[[")
    assert words_of(answer(500, b"")) == ""


def test_a_busy_loop_says_so_in_its_own_words() -> None:
    error = failure(answer(429, b'{"detail": "slow down"}'), "the models of project a/b", NOW)
    assert isinstance(error, LoopBusy)
    assert str(error) == (
        "the Learning Loop at http://loop.example asks to come again later (429 Too Many Requests: slow down)"
    )
    assert str(failure(answer(799, b""), "it", NOW)).endswith("(799)")
