"""Why a picture is in the outbox, as its tags tell: they go to the Loop with it, and survive whatever becomes of the index.

An explicit upload carries the tag that learning-loop-node gives it, too, so the outboxes that it left behind are read
alike. Such pictures are a promise; all the others were picked automatically, and may be thinned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

PICKED_BY_SYSTEM = "picked_by_system"
"""Tag of every explicit upload, as upstream writes it."""

SHOWN_TAGS = 16
SHOWN_CHARACTERS = 60
"""What is remembered of the tags for lists: clients may send many and long ones. The file has them all."""

_WORDS = {
    PICKED_BY_SYSTEM: "somebody asked for it (upload)",
    "uncertain": "the model was unsure of something new in it",
    "segmentation_detection": "it has a segmentation",
    "unexpected_observations_count": "suspiciously many things were found in it",
}

_TAGS = b'"tags"'
_DECODER = json.JSONDecoder()


def was_asked_for(tags: Sequence[str] | None) -> bool:
    """Whether the picture is a promise: an explicit upload, or one whose tags cannot be read (None)."""
    return tags is None or PICKED_BY_SYSTEM in tags


def in_words(tags: Sequence[str] | None) -> list[str]:
    """Why the picture was kept, for people."""
    found = [_WORDS[tag] for tag in tags or () if tag in _WORDS]
    return found or ["its metadata cannot be read" if tags is None else "every picture was wanted (autoupload all)"]


def shown(tags: Sequence[str] | None) -> str | None:
    """The tags as far as lists show them, as JSON; what makes a promise of the picture is never left out."""
    if tags is None:
        return None
    some = [tag[:SHOWN_CHARACTERS] for tag in tags[:SHOWN_TAGS]]
    if PICKED_BY_SYSTEM in tags and PICKED_BY_SYSTEM not in some:
        some[-1] = PICKED_BY_SYSTEM
    return json.dumps(some)


def tags_in(document: bytes) -> list[str] | None:
    """The tags in a picture's metadata (JSON); None where that is damaged.

    This runs for every picture of a large outbox when the index is lost: the tags are looked for, and only a document that
    has the key several times is read as a whole.
    """
    try:
        if document.count(_TAGS) == 1:
            text = document[document.index(_TAGS) + len(_TAGS) :].decode()
            value, _ = _DECODER.raw_decode(text.lstrip(" \t\r\n").removeprefix(":").lstrip(" \t\r\n"))
        else:
            value = json.loads(document).get("tags")
    except (ValueError, AttributeError, RecursionError):
        return None
    return _tag_list(value)


def _tag_list(value: Any) -> list[str] | None:
    """As `ImageMetadata` reads them: null is none, text is comma separated."""
    if value is None:
        return []
    if isinstance(value, str):
        return [tag.strip() for tag in value.split(",") if tag.strip()]
    return value if isinstance(value, list) and all(isinstance(tag, str) for tag in value) else None
