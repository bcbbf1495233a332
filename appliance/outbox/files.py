"""Pictures that wait for the Loop, kept as files: these are the truth, and a person may look at them and delete any.

What is acknowledged here survives `kill -9` and power loss. What a power cut leaves of a picture that was just coming or
going lies under a hidden name, and is swept at the next start. See `folders` for the layout.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from appliance.outbox import folders
from appliance.outbox.folders import QUEUES, REMOVING, SAVING, Queue
from appliance.outbox.mode import load_mode, parse_mode, save_mode
from appliance.outbox.room import Count, OutboxBounds, OutboxStats, Room
from models.errors import DetectorApplianceError, InvalidInput, NoRoom
from models.files import FileSystem, refusal
from models.wire.image_metadata import ImageMetadata
from models.wire.node_status import OutboxMode

log = logging.getLogger(__name__)

MODE_FILE = "mode"

_MICROSECOND = timedelta(microseconds=1)
_BURST = timedelta(seconds=1)
_RECOUNT_PAUSE = timedelta(seconds=10)
_LONGEST_RECOUNT_PAUSE = timedelta(minutes=10)
_RECOUNT_SHARE = 100
"""A full outbox is counted again before it refuses, but for no more than one part of the time in so many."""


@dataclass(frozen=True)
class NewPicture:
    """A picture to be kept: its encoded bytes as they came, and what is known of it. Nobody may change it any more."""

    picture: bytes
    metadata: ImageMetadata
    priority: bool = False


@dataclass(frozen=True)
class OutboxItem:
    """One waiting picture. `bytes` counts picture and metadata."""

    id: str
    queue: Queue
    bytes: int


@dataclass(frozen=True)
class OutboxPage:
    """Some waiting pictures, and what to ask for to get those after them; None where there are no more."""

    items: list[OutboxItem]
    next: str | None


@dataclass(frozen=True)
class WaitingPicture:
    """One waiting picture as it was saved."""

    id: str
    queue: Queue
    picture: bytes
    metadata: ImageMetadata


@dataclass
class _Saving:
    """A picture on its way to the disk, and how far it got."""

    new: NewPicture
    queue: Queue
    id: str = ""
    reserved: Count = field(default_factory=Count)
    hidden: Path = field(default_factory=Path)
    opened: list[BinaryIO] = field(default_factory=list)
    error: DetectorApplianceError | None = None


class Outbox:
    """The folder `root`, made if there is none, and the pictures in it.

    `clock` tells the time of day. All methods but `stats` and `mode` block; all may be called from any thread. Raises
    `StorageRefused` where the folder cannot be made or read.
    """

    def __init__(self, root: Path, bounds: OutboxBounds, clock: Callable[[], datetime], files: FileSystem) -> None:
        self._root = root
        self._clock = clock
        self._files = files
        # Guards all that follows, and is held from the renaming of a folder until that is counted.
        self._lock = Lock()
        self._room = Room(bounds, self._free_bytes)
        self._last_id = self._now() - _BURST
        self._counted = self._next_recount = self._last_id
        try:
            for queue in QUEUES:
                files.make_folders(root / queue)
                self._sweep(root / queue)
        except OSError as error:
            raise refusal(error, f"open the outbox {root}") from error
        self._mode = load_mode(root / MODE_FILE)
        self.recount()

    def save(self, picture: bytes, metadata: ImageMetadata, *, priority: bool = False) -> str:
        """Keep a picture; return its id as soon as it would survive a power cut.

        Raises `NoRoom` where a bound is reached, `StorageRefused` where the disk fails, `InvalidInput` where the
        metadata cannot be written as JSON; the picture is not kept then.
        """
        [outcome] = self.save_all([NewPicture(picture, metadata, priority)])
        if isinstance(outcome, DetectorApplianceError):
            raise outcome
        return outcome

    def save_all(self, pictures: Sequence[NewPicture]) -> list[str | DetectorApplianceError]:
        """Keep several pictures at once: for each its id, or why it was not kept.

        All are written before the first is synced, and a queue is synced once for all: half the price of one by one.
        Two files are open for each meanwhile.
        """
        savings = [_Saving(new, "priority" if new.priority else "normal") for new in pictures]
        try:
            for step in (self._write, self._sync, self._publish):
                for saving in savings:
                    if saving.error is None:
                        self._attempt(step, saving)
        finally:
            for saving in savings:
                _close(saving)
        for queue in QUEUES:
            self._sync_queue(queue, [saving for saving in savings if saving.queue == queue and saving.error is None])
        return [saving.error or saving.id for saving in savings]

    def stats(self) -> OutboxStats:
        """What waits, from memory: off by what people have deleted since the last count."""
        # Without the lock, which is held while the disk works: whoever asks may be the event loop.
        return self._room.stats()

    def recount(self) -> OutboxStats:
        """What really waits; counting takes some seconds for 100,000 pictures. Raises `StorageRefused`."""
        with self._lock:
            self._recount()
        return self.stats()

    def items(self, limit: int, after: str | None = None) -> OutboxPage:
        """Up to `limit` (at least 1) waiting pictures as they will be sent: priority oldest first, normal newest first.

        `after` is the `next` of the page before; what comes or goes between two pages does no harm. Raises
        `InvalidInput` for any other text, `StorageRefused` where the disk fails.
        """
        first_queue, last_id = folders.parse_place(after)
        items: list[OutboxItem] = []
        try:
            for queue in QUEUES[QUEUES.index(first_queue) :]:
                for item_id, size in folders.waiting(self._root / queue, queue, last_id):
                    if len(items) == max(1, limit):
                        return OutboxPage(items, folders.place(items[-1].queue, items[-1].id))
                    items.append(OutboxItem(item_id, queue, size))
                last_id = None
        except OSError as error:
            raise refusal(error, f"list the pictures in {self._root}") from error
        return OutboxPage(items, None)

    def read(self, item_id: str) -> WaitingPicture | None:
        """A waiting picture; None if it is not there, or no more.

        Raises `InvalidInput` where its metadata is damaged, `StorageRefused` where the disk fails.
        """
        for queue in QUEUES if folders.is_id(item_id) else ():
            picture, metadata = map(Path, folders.paths(self._root / queue / item_id, item_id))
            try:
                image_bytes, document = picture.read_bytes(), metadata.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise refusal(error, f"read the picture {item_id} of the outbox") from error
            try:
                return WaitingPicture(item_id, queue, image_bytes, ImageMetadata.model_validate_json(document))
            except ValidationError as error:
                raise InvalidInput(
                    f"The file {metadata} is damaged: it must hold the metadata of a picture."
                ) from error
        return None

    def remove(self, item_id: str) -> bool:
        """Delete a waiting picture for good; False if it is not there, or no more. Raises `StorageRefused`."""
        try:
            return any(self._withdraw(queue, [item_id]) for queue in QUEUES if folders.is_id(item_id))
        except OSError as error:
            raise refusal(error, f"delete the picture {item_id} of the outbox") from error

    def clear(self) -> int:
        """Delete all that waits for good, incomplete folders too; return how many. Raises `StorageRefused`."""
        try:
            return sum(
                self._withdraw(queue, [name for name in folders.names(self._root / queue) if folders.is_id(name)])
                for queue in QUEUES
            )
        except OSError as error:
            raise refusal(error, "clear the outbox") from error

    @property
    def mode(self) -> OutboxMode:
        """Whether pictures are to be sent. Survives a restart."""
        return self._mode

    def set_mode(self, mode: str) -> None:
        """Change the mode, durably. Raises `InvalidInput` for an unknown one, `StorageRefused` where the disk fails."""
        parsed = parse_mode(mode)
        with self._lock:
            save_mode(self._root / MODE_FILE, parsed, self._files)
            self._mode = parsed

    def _free_bytes(self) -> int:
        try:
            return self._files.free_bytes(self._root)
        except FileNotFoundError:  # a person has deleted the whole outbox
            self._files.make_folders(self._root)
            return self._files.free_bytes(self._root)

    def _now(self) -> datetime:
        return self._clock().astimezone(timezone.utc)

    def _attempt(self, step: Callable[[_Saving], None], saving: _Saving) -> None:
        try:
            step(saving)
        except OSError as error:
            saving.error = _refused(error)
        except DetectorApplianceError as error:
            saving.error = error
        if saving.error is None:
            return
        _close(saving)
        with self._lock:
            self._room.release(saving.reserved)
        if saving.hidden.name:
            self._discard(saving.hidden)

    def _write(self, saving: _Saving) -> None:
        try:
            metadata = saving.new.metadata.model_dump_json().encode()
        except PydanticSerializationError as error:
            raise InvalidInput(f"The metadata of the picture cannot be written as JSON: {error}.") from error
        self._reserve(saving, Count(1, len(saving.new.picture) + len(metadata)))
        queue_folder = self._root / saving.queue
        hidden = queue_folder / f"{SAVING}{saving.id}"
        try:
            self._files.make_folder(hidden)
        except FileNotFoundError:  # a person has deleted the whole queue, or the whole outbox
            self._files.make_folders(queue_folder)
            self._files.make_folder(hidden)
        saving.hidden = hidden
        for path, data in zip(folders.paths(hidden, saving.id), (saving.new.picture, metadata), strict=True):
            file = self._files.create_exclusive(Path(path))
            saving.opened.append(file)
            file.write(data)

    def _reserve(self, saving: _Saving, count: Count) -> None:
        """Give the picture its room and its id. Raises `NoRoom`."""
        with self._lock:
            if self._room.why_not(count) and not self._counted <= self._now() < self._next_recount:
                self._recount()
            why_not = self._room.why_not(count)
            if why_not:
                self._room.refuse()
                raise NoRoom(why_not)
            saving.id = self._new_id()
            saving.reserved = count
            self._room.reserve(count)

    def _new_id(self) -> str:
        moment = self._now()
        if moment <= self._last_id < moment + _BURST:
            moment = self._last_id + _MICROSECOND
        while any((self._root / queue / folders.picture_id(moment)).exists() for queue in QUEUES):
            moment += _MICROSECOND  # the clock was set back to a time that has its picture already
        self._last_id = moment
        return folders.picture_id(moment)

    def _sync(self, saving: _Saving) -> None:
        for file in saving.opened:
            self._files.sync_file(file)
        _close(saving)
        self._files.sync_folder(saving.hidden)

    def _publish(self, saving: _Saving) -> None:
        with self._lock:
            self._files.rename(saving.hidden, self._root / saving.queue / saving.id)
            self._room.arrive(saving.queue, saving.reserved)

    def _sync_queue(self, queue: Queue, savings: Sequence[_Saving]) -> None:
        if not savings:
            return
        try:
            self._files.sync_folder(self._root / queue)
        except OSError as error:
            # Nobody can tell what the disk holds now. Who is told that it was refused will send it again.
            for saving in savings:
                saving.error = _refused(error)
                with suppress(OSError):
                    hidden = self._hide(queue, saving.id)
                    if hidden is not None:
                        self._discard(hidden)

    def _withdraw(self, queue: Queue, item_ids: Sequence[str]) -> int:
        """Delete folders, for everybody else at once; return how many were there."""
        hidden = [path for item_id in item_ids if (path := self._hide(queue, item_id)) is not None]
        if hidden:
            # Else a power cut might bring back the name of a folder that has lost its files already.
            with suppress(FileNotFoundError):
                self._files.sync_folder(self._root / queue)
        for path in hidden:
            self._discard(path)
        return len(hidden)

    def _hide(self, queue: Queue, item_id: str) -> Path | None:
        folder = self._root / queue / item_id
        hidden = folder.with_name(f"{REMOVING}{item_id}")
        with self._lock:
            size = folders.size(folder, item_id)
            try:
                self._files.rename(folder, hidden)
            except FileNotFoundError:
                return None
            if size is not None:
                self._room.leave(queue, Count(1, size))
        return hidden

    def _discard(self, hidden: Path) -> None:
        try:
            self._files.remove_tree(hidden)
        except OSError as error:
            log.warning("Could not delete %s (%s); the next start tries again.", hidden, error)

    def _sweep(self, queue_folder: Path) -> None:
        for name in folders.names(queue_folder):
            if name.startswith((SAVING, REMOVING)):
                self._discard(queue_folder / name)

    def _recount(self) -> None:
        began = self._now()
        try:
            self._room.set({queue: self._count(queue) for queue in QUEUES})
        except OSError as error:
            raise refusal(error, f"count the pictures in {self._root}") from error
        self._counted = self._now()
        pause = max(_RECOUNT_PAUSE, min(_LONGEST_RECOUNT_PAUSE, _RECOUNT_SHARE * (self._counted - began)))
        self._next_recount = self._counted + pause

    def _count(self, queue: Queue) -> Count:
        sizes = [
            size
            for name in folders.names(self._root / queue)
            if folders.is_id(name) and (size := folders.size(f"{self._root}/{queue}/{name}", name)) is not None
        ]
        return Count(len(sizes), sum(sizes))


def _refused(error: OSError) -> DetectorApplianceError:
    refused = refusal(error, "keep the picture in the outbox")
    refused.__cause__ = error
    return refused


def _close(saving: _Saving) -> None:
    for file in saving.opened:
        # Closing tries once more to write what a full disk did not take; the picture is given up already.
        with suppress(OSError):
            file.close()
    saving.opened.clear()
