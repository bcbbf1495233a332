"""Where a waiting picture lies, and what lies there.

    DATA/outbox/priority/<id>/image_<id>.jpg, .json     what somebody asked to have sent first
    DATA/outbox/normal/<id>/image_<id>.jpg, .json       all the others

An id is the UTC time of saving, to the microsecond, with dashes for the colons that not every file system takes: sorted
as text, ids are sorted by time. The picture's name ends in `.jpg` whatever its bytes are, PNG and WebP too, because the
protocol pairs a picture and its metadata by their stem and knows these two endings only.

A folder is there complete or not at all: it is written under a hidden name, synced and then renamed, and goes the same
way backwards. One that lacks a file was touched by a person: it is left alone and counts for nothing.

Everything here only reads, and follows what a person deletes meanwhile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

from models.errors import InvalidInput

Queue = Literal["priority", "normal"]

QUEUES: tuple[Queue, ...] = get_args(Queue)
"""In the order of sending."""

SAVING = ".saving-"
REMOVING = ".removing-"
"""What the hidden names of a picture that comes or goes begin with; its id follows."""


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,99}")


def picture_id(moment: datetime) -> str:
    """The id of a picture that is saved at this moment."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d_%H-%M-%S.%f")


def is_id(text: str) -> bool:
    """Whether a picture's folder can have this name: ours, or the times with colons that upstream writes.

    What else lies in a queue is somebody's own, and no text that comes from outside leads out of the queue.
    """
    return _ID.fullmatch(text) is not None


def paths(folder: Path | str, item_id: str) -> tuple[str, str]:
    """Picture and metadata in a picture's folder."""
    return f"{folder}/image_{item_id}.jpg", f"{folder}/image_{item_id}.json"


def size(folder: Path | str, item_id: str) -> int | None:
    """Bytes of picture and metadata; None where they are not both there."""
    picture, metadata = paths(folder, item_id)
    try:
        # This runs for every picture at start: with Path objects it would take twice as long.
        return os.lstat(picture).st_size + os.lstat(metadata).st_size
    except OSError:
        return None


def names(queue_folder: Path) -> list[str]:
    """All names in the folder of a queue, ids and others; none where a person has deleted it. Raises OSError."""
    try:
        with os.scandir(queue_folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def waiting(queue_folder: Path, queue: Queue, after: str | None = None) -> Iterator[tuple[str, int]]:
    """Ids and bytes in the order of sending, those after the id `after`: priority oldest first, normal newest first."""
    newest_first = queue == "normal"
    for name in sorted(names(queue_folder), reverse=newest_first):
        if not is_id(name) or (after is not None and (name >= after if newest_first else name <= after)):
            continue
        found = size(queue_folder / name, name)
        if found is not None:
            yield name, found


def place(queue: Queue, item_id: str) -> str:
    """Text for a place in the order of sending, behind this picture."""
    return f"{queue}/{item_id}"


def parse_place(text: str | None) -> tuple[Queue, str | None]:
    """Inverse of `place`; None is the very beginning. Raises `InvalidInput`."""
    if text is None:
        return QUEUES[0], None
    for queue in QUEUES:
        item_id = text.removeprefix(f"{queue}/")
        if item_id != text and is_id(item_id):
            return queue, item_id
    raise InvalidInput(f"{text!r:.100} is no place in the outbox; take the `next` of the page before.")
