"""JSON that came from outside and is kept as it is: bounded, and such as every database and every answer can carry."""

from __future__ import annotations

import json
from typing import Any

from models.errors import InputTooLarge, InvalidInput

MAX_DEPTH = 64
"""Lists and objects within each other."""


def plain(value: Any, max_bytes: int, what: str) -> Any:
    """The value, once it is known to be plain JSON of at most `max_bytes`; NUL characters are left out.

    Raises `InvalidInput` for a NaN, an infinity, half a character, or a depth that nobody needs; `InputTooLarge`. `what`
    is for the sentence: "the status".
    """
    kept = _without_nul(value, MAX_DEPTH, what)
    try:
        size = len(json.dumps(kept, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{what} cannot be kept: {error}") from error
    if size > max_bytes:
        raise InputTooLarge(f"{what} has {size} bytes; at most {max_bytes} are kept")
    return kept


def _without_nul(value: Any, depth: int, what: str) -> Any:
    """PostgreSQL cannot hold the character NUL, not even escaped."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict | list) and not depth:
        raise InvalidInput(f"{what} cannot be kept: it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {_without_nul(key, depth, what): _without_nul(each, depth - 1, what) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each, depth - 1, what) for each in value]
    return value
