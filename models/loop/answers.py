"""What the answers of a Learning Loop mean: status and body to a value, or to one of our errors. Pure.

Every sentence names the Loop, says what came (shortened, never a whole web page), and where there is one, the way out.
"""

from __future__ import annotations

import email.utils
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.errors import (
    AlreadyInLoop,
    LoginFailed,
    LoopBusy,
    LoopError,
    LoopRefused,
    LoopUnreachable,
    NotInLoop,
)

LONGEST_WORDS = 300
"""Characters of the Loop's own words that are kept."""

LONGEST_RETRY_AFTER_S = 3600.0
"""Whatever it asks for, it is asked again after this long."""

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_TITLE = re.compile(r"<title[^>]*>([^<]{0,500})", re.IGNORECASE)

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end or to its bound. `headers` have names in any case. `loop` is the base URL."""

    loop: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_web_page(self) -> bool:
        """Whether it is meant for a browser: hotels, proxies and routers answer so in the place of others."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind in ("text/html", "application/xhtml+xml") or self.body[:64].lstrip()[:1] == b"<"

    @property
    def status_line(self) -> str:
        """Status with its name: `429 Too Many Requests`."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


def failure(answer: Answer, wish: str, wall_clock: float) -> LoopError | None:  # noqa: PLR0911 # a table of cases
    """The error that an answer stands for; None if it is a success (2xx).

    `wish` names what was asked for: "model 1.2 in format litert". `wall_clock` is in seconds since 1970, for a date in
    `Retry-After`.
    """
    status = answer.status
    if 200 <= status < 300:  # before its words are looked for: they may be a picture
        return None
    who = f"the Learning Loop at {answer.loop}"
    said = f"{answer.status_line}{_and(words_of(answer))}"
    if 300 <= status < 400:
        place = _shortened(answer.headers.get("location", "somewhere else"), 120)
        return LoopUnreachable(
            f"what answers at {answer.loop} sends on to {place!r}, which is not followed; "
            "LOOP_HOST should name the Learning Loop itself, with https:// where it wants that",
            status,
        )
    if status in (408, 429) or status >= 500:
        return LoopBusy(
            f"{who} asks to come again later ({said})", status, retry_after(answer.headers, wall_clock=wall_clock)
        )
    if status == 401:
        return LoginFailed(f"{who} wants a login for {wish} ({said}); check LOOP_USERNAME and LOOP_PASSWORD", status)
    if status == 404 and answer.is_web_page:
        return LoopUnreachable(f"what answers at {answer.loop} is no Learning Loop ({said}); is LOOP_HOST right?", 404)
    if status == 404:
        return NotInLoop(f"{who} has no {wish} ({said})", status)
    if status == 409:
        return AlreadyInLoop(f"{who} has {wish} already ({said})", status, _id_in(answer.body))
    return LoopRefused(f"{who} does not want {wish} ({said})", status)


def parsed(answer: Answer, kind: type[Model], wish: str) -> Model:
    """The body of a success as an object of `kind`. Raises `LoopUnreachable` if it is something else."""
    try:
        return kind.model_validate_json(answer.body)
    except ValidationError as error:
        raise unexpected(answer, wish, error) from error


def unexpected(answer: Answer, wish: str, error: ValidationError | None = None) -> LoopUnreachable:
    """The error for a success whose body is not what a Learning Loop answers."""
    if answer.is_web_page:
        came = f"a web page{_and(words_of(answer))}"
    elif not answer.body.strip():
        came = "nothing at all"
    elif error is None or error.errors(include_url=False)[0]["type"] == "json_invalid":
        came = f"something that is no JSON ({_shortened(_text(answer.body), 80)!r})"
    else:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        came = f"JSON that does not fit ({_shortened(place, 80)}: {_shortened(first['msg'], 120)})"
    return LoopUnreachable(
        f"asked for {wish}, what is at {answer.loop} answered with {came}; is that a Learning Loop, and LOOP_HOST right?",
        answer.status,
    )


def retry_after(headers: Mapping[str, str], *, wall_clock: float) -> float | None:
    """Seconds to wait as the header `Retry-After` asks for; None without one, or if it is neither number nor date.

    A date is compared with the answer's own `Date` where it has one: clocks of robots are often wrong.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        then = _seconds_of_date(text)
        if then is None:
            return None
        now = _seconds_of_date(headers.get("date", ""))
        seconds = then - (wall_clock if now is None else now)
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)


def words_of(answer: Answer) -> str:
    """What the answer says to people, in one short line; empty if it says nothing.

    `detail` of FastAPI's answers, be it a sentence or a list of complaints; the title of a web page; or plain text.
    """
    if answer.is_web_page:
        title = _TITLE.search(_text(answer.body))
        return _shortened(html.unescape(title[1]), LONGEST_WORDS) if title else ""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return _shortened(_text(answer.body), LONGEST_WORDS)
    if isinstance(document, dict):
        document = next((document[key] for key in ("detail", "message", "error") if key in document), document)
    if isinstance(document, list):
        return _shortened("; ".join(_complaint(item) for item in document[:5]), LONGEST_WORDS)
    return _shortened(_complaint(document), LONGEST_WORDS)


def _complaint(item: Any) -> str:
    """One entry of FastAPI's list: where, and what."""
    if isinstance(item, dict) and "msg" in item:
        place = item.get("loc")
        where = " ".join(str(part) for part in place) + ": " if isinstance(place, list) else ""
        return f"{where}{item['msg']}"
    return item if isinstance(item, str) else json.dumps(item)


def _id_in(body: bytes) -> str | None:
    """`detail.id` of a 409."""
    try:
        detail = json.loads(body)["detail"]["id"]
    except (ValueError, RecursionError, TypeError, KeyError, IndexError):
        return None
    return detail if isinstance(detail, str) and 0 < len(detail) <= 200 else None


def _seconds_of_date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _text(body: bytes) -> str:
    return body[:20_000].decode("utf-8", "replace")


def _shortened(text: str, most: int) -> str:
    """One line of at most `most` characters, without any that steer a terminal."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 20 * most]).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _and(words: str) -> str:
    return f": {words}" if words else ""
