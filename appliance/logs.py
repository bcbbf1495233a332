"""Logs: text for people, or one JSON object per line for collectors.

Everything goes through the root logger, uvicorn's lines included. Requests are not logged one by one below DEBUG: the
metrics count them, and a camera makes a million a day.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from typing import Any, Literal, TextIO, get_args

from models.errors import InvalidInput

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

HANDLER = "appliance"
"""Name of our handler, to be told from those of others (a test runner's, say), which stay."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
"""Attributes that every record has; what goes beyond was passed as `extra`. uvicorn adds a coloured copy."""

_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
"""ANSI codes: dim, yellow, red, bold red. INFO, the usual, has none."""

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
"""Control characters but tab and newline, as text: what a stranger sends must not steer a terminal."""

_NUMBERS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}

_CHATTY = ("uvicorn.access", "httpx", "httpcore", "socketio", "engineio", "PIL", "asyncio", "multipart", "alembic")
"""Libraries that say each of their steps at INFO."""


def configure(level: str, format: Literal["text", "json"], stream: TextIO) -> None:
    """Send all logs of this process to `stream`. Called again, it replaces what it did before.

    `level` is DEBUG, INFO, WARNING or ERROR.
    """
    handler = logging.StreamHandler(stream)
    handler.set_name(HANDLER)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(colour=stream.isatty()))
    root = logging.getLogger()
    for former in [each for each in root.handlers if each.name == HANDLER]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)

    chatty = logging.NOTSET if root.level <= logging.DEBUG else logging.WARNING
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    logging.getLogger("uvicorn.error").addFilter(_no_single_sockets)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(chatty)


def _no_single_sockets(record: logging.LogRecord) -> bool:
    """uvicorn says of each WebSocket that it comes and goes: no more news than a request."""
    one_by_one = record.msg in ("connection open", "connection closed") or "WebSocket" in str(record.msg)
    return record.levelno > logging.INFO or not one_by_one or logging.getLogger().level <= logging.DEBUG


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:34:56.789 WARNING appliance.outbox: message key=value`, local time.

    Further lines of a message are indented: a line that starts with a date was written by us.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        line = f"{when} {record.levelname:<7} {record.name}: {_text(record)}"
        code = _COLOURS.get(record.levelno) if self._colour else None
        return f"\x1b[{code}m{line}\x1b[0m" if code else line


class JsonFormatter(logging.Formatter):
    """One object per line: time (ISO 8601, UTC), level, logger, message, exception where there is one, and `extra`s."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(record)
        if trace:
            fields["exception"] = trace
        extra = {key: value for key, value in _extra(record).items() if key not in fields}
        try:
            return json.dumps({**fields, **extra}, default=str, allow_nan=False)
        except (ValueError, TypeError):  # NaN is no JSON, nor is a cycle or a key that is no text
            return json.dumps({**fields, **{key: str(value) for key, value in extra.items()}})


def parse_level(word: str) -> Level:
    """The level that is meant. Raises `InvalidInput`."""
    for level in get_args(Level):
        if word.strip().upper() == level:
            return level  # type: ignore[no-any-return]  # get_args has no types
    raise InvalidInput(f"{word[:60]!r} is no level of the log; it should be one of {', '.join(get_args(Level))}")


@dataclass(frozen=True)
class Line:
    """One entry of the log. `number` counts up, `time` is seconds since 1970; the text ends with `extra`s and traceback."""

    number: int
    time: float
    level: str
    logger: str
    text: str

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.time).isoformat(" ", "milliseconds")
        return f"{when} {self.level:<7} {self.logger}: {self.text}"


class RecentLines(logging.Handler):
    """The last entries of the log, in memory: at most so many, and so many characters of each. Safe for all threads."""

    def __init__(self, most: int = 1000, longest: int = 4000) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=most)
        self._longest = longest
        self._numbers = count(1)

    def emit(self, record: logging.LogRecord) -> None:
        """As every handler."""
        try:
            text = _text(record)
        except Exception:  # a message that does not fit its arguments; the program that logs goes on
            self.handleError(record)
            return
        if len(text) > self._longest:
            text = f"{text[: self._longest]} … ({len(text)} characters)"
        self._lines.append(Line(next(self._numbers), record.created, record.levelname, record.name, text))

    @property
    def newest(self) -> int:
        """Number of the last entry; 0 where there is none."""
        try:
            return self._lines[-1].number
        except IndexError:
            return 0

    def lines(self, level: Level = "DEBUG", contains: str = "", limit: int = 1000) -> list[Line]:
        """The last `limit` entries of at least `level` in which `contains` stands, whatever its case; oldest first."""
        least, part = _NUMBERS[level], contains.casefold()
        self.acquire()  # nothing is appended meanwhile
        try:
            every = list(self._lines)
        finally:
            self.release()
        found = [
            line
            for line in every
            if _NUMBERS.get(line.level, logging.CRITICAL) >= least
            and (part in line.text.casefold() or part in line.logger.casefold())
        ]
        return found[-limit:] if limit > 0 else []

    def begin(self) -> None:
        """Remember from now on what is logged in this process."""
        logging.getLogger().addHandler(self)

    def end(self) -> None:
        """Remember no more of it; what there is stays."""
        logging.getLogger().removeHandler(self)


def _text(record: logging.LogRecord) -> str:
    extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
    trace = _trace(record)
    text = f"{record.getMessage()}{extra}" + (f"\n{trace}" if trace else "")
    return text.translate(_CONTROL).replace("\n", "\n    ")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _trace(record: logging.LogRecord) -> str:
    formatter = logging.Formatter()
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts)
