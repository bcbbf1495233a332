"""Logs: text for people, or one JSON object per line for collectors.

Everything goes through the root logger, uvicorn's lines included. Requests are not logged one by one below DEBUG: the
metrics count them, and a camera makes a million a day.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any, Literal, TextIO

HANDLER = "appliance"
"""Name of our handler, to be told from those of others (a test runner's, say), which stay."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
"""Attributes that every record has; what goes beyond was passed as `extra`. uvicorn adds a coloured copy."""

_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
"""ANSI codes: dim, yellow, red, bold red. INFO, the usual, has none."""

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
"""Control characters but tab and newline, as text: what a stranger sends must not steer a terminal."""

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
    for name in _CHATTY:
        logging.getLogger(name).setLevel(chatty)


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:34:56.789 WARNING appliance.outbox: message key=value`, local time.

    Further lines of a message are indented: a line that starts with a date was written by us.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        message = record.getMessage()
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        trace = _trace(record)
        text = f"{message}{extra}" + (f"\n{trace}" if trace else "")
        safe = text.translate(_CONTROL).replace("\n", "\n    ")
        line = f"{when} {record.levelname:<7} {record.name}: {safe}"
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


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _trace(record: logging.LogRecord) -> str:
    formatter = logging.Formatter()
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts)
