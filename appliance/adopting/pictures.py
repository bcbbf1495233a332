"""The pictures that learning-loop-node has left in the outbox.

Nothing is lost whenever the power fails: a picture gets its second name in our queue, that is synced, and only then its
first name goes. What happened twice is seen and done once.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from appliance.outbox import folders
from appliance.outbox.folders import FOLDERS, QUEUES, SAVING
from models.files import NO_SECOND_NAMES, FileSystem

QUEUE = "normal"
"""Before 0.14 there was one queue."""

AT_ONCE = 1000
"""Pictures that are moved together, with one wait for the disk: one for each would take a memory card a quarter of an hour
where a Loop was away for long.
"""

_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")


@dataclass
class Found:
    """What became of pictures: how many are in our queue now, and folders that stay where they are, with the reason."""

    adopted: int = 0
    left_alone: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Item:
    """A picture in a folder of its own, by the names that its era gave it."""

    folder: Path
    picture: Path
    metadata: Path

    @property
    def id(self) -> str:
        return self.folder.name


def move_flat(outbox: Path, files: FileSystem, known: frozenset[str]) -> Found:
    """Move the pictures that lie in the outbox itself to our queue; folders in `known` are passed over. Raises OSError."""
    found = Found()
    names = [name for name in _flat(outbox) if name not in known]
    if not names:
        return found
    files.make_folders(outbox / QUEUE)
    waiting = iter(names)
    while batch := list(islice(waiting, AT_ONCE)):
        found.adopted += _move(outbox, batch, files, found.left_alone)
    return found


def check_queues(outbox: Path) -> Found:
    """Look at the pictures that lie in the queues under names of learning-loop-node. Raises OSError."""
    found = Found()
    for queue in QUEUES:
        for name in folders.names(outbox / queue):
            if ":" not in name or not folders.is_id(name):
                continue
            why = _what_is_wrong(_item(outbox / queue / name))
            if why is None:
                found.adopted += 1
            else:
                found.left_alone[f"{queue}/{name}"] = why
    return found


def half_written(data: Path) -> int:
    """Pictures that were being written when learning-loop-node ended; nobody was told that they were kept."""
    return sum(":" in name and folders.is_id(name) for name in folders.names(data / "tmp"))


def _flat(outbox: Path) -> list[str]:
    try:
        with os.scandir(outbox) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name not in FOLDERS and folders.is_id(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return []


def _item(folder: Path) -> _Item:
    picture, metadata = map(Path, folders.paths(folder, folder.name))
    if not picture.exists() and not metadata.exists():
        picture, metadata = folder / "image.jpg", folder / "image.json"
    return _Item(folder, picture, metadata)


def _move(outbox: Path, names: Sequence[str], files: FileSystem, left_alone: dict[str, str]) -> int:
    """Move some pictures; how many were not there yet."""
    queue = outbox / QUEUE
    coming: list[tuple[_Item, Path, Path]] = []
    there: list[_Item] = []
    for name in names:
        item = _item(outbox / name)
        target = _target(queue, item)
        if target.exists():
            there.append(item)
            continue
        why = _what_is_wrong(item)
        if why is not None:
            left_alone[name] = why
            continue
        hidden = target.with_name(f"{SAVING}{target.name}")
        files.remove_tree(hidden)
        files.make_folder(hidden)
        for source, place in zip((item.picture, item.metadata), _paths(hidden, target.name), strict=True):
            _second_name(source, place, files)
        coming.append((item, hidden, target))
    files.sync_everything()
    for _, hidden, target in coming:
        files.rename(hidden, target)
    files.sync_folder(queue)
    for item in [*(item for item, _, _ in coming), *there]:
        try:
            _take_first_name(item, files)
        except OSError as error:
            # Remembered as this, it is not adopted again and again; what waits in the queue is sent once.
            left_alone[item.id] = f"it waits in {QUEUE}/ now, but cannot be removed from here ({error.strerror})"
    files.sync_folder(outbox)
    return len(coming)


def _target(queue: Path, item: _Item) -> Path:
    """Where the picture goes: under its own id, or one that is free where another picture has that."""
    for number in range(1000):
        target = queue / (item.id if not number else f"{item.id}-{number}")
        if not target.exists() or _same(item, target):
            return target
    return target


def _same(item: _Item, target: Path) -> bool:
    """Whether what is there of the item is in the target, too: a power cut may have left the half of it here."""
    pairs = zip((item.picture, item.metadata), _paths(target, target.name), strict=True)
    present = [(source, copy) for source, copy in pairs if source.exists()]
    return all(copy.exists() and _equal(source, copy) for source, copy in present)


def _equal(one: Path, other: Path) -> bool:
    return one.samefile(other) or one.read_bytes() == other.read_bytes()


def _paths(folder: Path, item_id: str) -> tuple[Path, Path]:
    picture, metadata = folders.paths(folder, item_id)
    return Path(picture), Path(metadata)


def _second_name(source: Path, target: Path, files: FileSystem) -> None:
    try:
        files.link(source, target)
    except OSError as error:
        if error.errno not in NO_SECOND_NAMES:
            raise
        files.write_file(target, _chunks(source))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def _take_first_name(item: _Item, files: FileSystem) -> None:
    for path in (item.picture, item.metadata):
        with suppress(FileNotFoundError):
            files.unlink(path)
    try:
        files.remove_folder(item.folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # a person keeps something of their own beside it
            raise


def _what_is_wrong(item: _Item) -> str | None:
    """Why this is no picture that could be sent, as a sentence; None where it is one as far as a glance can tell."""
    for path, what in ((item.picture, "picture"), (item.metadata, "metadata")):
        try:
            status = path.lstat()
        except OSError:
            return f"it lacks its {what}"
        if not stat.S_ISREG(status.st_mode):
            return f"its {what} is no regular file"
        if not status.st_size:
            return f"its {what} is empty"
    try:
        return _what_is_wrong_inside(item)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _what_is_wrong_inside(item: _Item) -> str | None:
    with item.picture.open("rb") as file:
        if not file.read(8).startswith(_BEGINNINGS):
            return "its picture is damaged"
    try:
        sound = isinstance(json.loads(item.metadata.read_bytes()), dict)
    except (ValueError, RecursionError):
        sound = False
    return None if sound else "its metadata is damaged"
