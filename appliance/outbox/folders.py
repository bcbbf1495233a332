"""Where a picture lies, and what lies there.

    DATA/outbox/priority/<id>/image_<id>.jpg, .json     what somebody asked to have sent first
    DATA/outbox/normal/<id>/image_<id>.jpg, .json       all the others
    DATA/outbox/rejected/<id>/…, reason.json            what the Loop does not want, and its words

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
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

from appliance.outbox import reasons
from models.errors import InvalidInput

Queue = Literal["priority", "normal"]
Folder = Literal["priority", "normal", "rejected"]

QUEUES: tuple[Queue, ...] = get_args(Queue)
"""In the order of sending."""

REJECTED: Folder = "rejected"

FOLDERS: tuple[Folder, ...] = get_args(Folder)

SAVING = ".saving-"
REMOVING = ".removing-"
"""What the hidden names of a picture that comes or goes begin with; its id follows."""

REASON = "reason.json"
"""In the folder of a rejected picture: why, when, and from which queue."""

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,99}$"
"""What the name of a picture's folder looks like."""

_ID = re.compile(ID_PATTERN[1:-1])
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[_T](\d{2})[-:](\d{2})[-:](\d{2})(\.\d{1,6})?.*", re.ASCII)
_USUAL_METADATA = 32_768
"""Bytes. Longer ones take a second call of the system."""


@dataclass(frozen=True)
class Facts:
    """What the disk says of a picture: bytes of picture and metadata, and its tags (None: damaged)."""

    bytes: int
    tags: list[str] | None


def picture_id(moment: datetime) -> str:
    """The id of a picture that is saved at this moment."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d_%H-%M-%S.%f")


def moment_of(item_id: str) -> float | None:
    """When a picture was saved, seconds since 1970, as its id says; None where that is none of ours, nor upstream's."""
    match = _TIME.fullmatch(item_id)
    if match is None:
        return None
    date, hour, minute, second, fraction = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{hour}:{minute}:{second}").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return moment.timestamp() + float(fraction or 0)


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
        return os.lstat(picture).st_size + os.lstat(metadata).st_size
    except OSError:
        return None


def facts(folder: Path | str, item_id: str) -> Facts | None:
    """What the disk says of a picture; None where its files are not both there."""
    picture, metadata = paths(folder, item_id)
    try:
        # This may run for every picture at start: with Path objects it would take twice as long.
        picture_bytes = os.lstat(picture).st_size
        descriptor = os.open(metadata, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        document = _read_on(descriptor, _USUAL_METADATA)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return Facts(picture_bytes + len(document), reasons.tags_in(document))


def read(path: str, expected: int = _USUAL_METADATA) -> bytes:
    """A whole file, which should be shorter than `expected`. Raises OSError.

    Every call of the system lets other threads run, and while pictures are sent there are some: as few as can be.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read_on(descriptor, expected)
    finally:
        os.close(descriptor)


def _read_on(descriptor: int, expected: int) -> bytes:
    """To the end; one call of the system where the file is shorter than `expected`."""
    data = os.read(descriptor, expected)
    if len(data) < expected:
        return data
    pieces = [data]
    while piece := os.read(descriptor, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def names(folder: Path) -> list[str]:
    """All names in a folder of the outbox, ids and others; none where a person has deleted it. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def ids(folder: Path) -> list[str]:
    """The ids in a folder of the outbox, sorted. Raises OSError."""
    return sorted(filter(is_id, names(folder)))


def place(folder: Folder, item_id: str) -> str:
    """Text for a place in a list, behind this picture."""
    return f"{folder}/{item_id}"


def parse_place(text: str) -> tuple[Folder, str]:
    """Inverse of `place`. Raises `InvalidInput`."""
    for folder in FOLDERS:
        item_id = text.removeprefix(f"{folder}/")
        if item_id != text and is_id(item_id):
            return folder, item_id
    raise InvalidInput(f"{text!r:.100} is no place in the outbox; take the `next` of the page before.")
