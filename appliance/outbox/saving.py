"""How several pictures come to the disk at once: all written before the first is synced, and one sync of a queue for all.

That costs half of what one by one does. Two files are open for each picture meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from appliance.outbox.files import Draft, NewPicture, PictureFiles
from appliance.outbox.folders import QUEUES
from appliance.outbox.room import Count
from models.errors import DetectorApplianceError
from models.files import refusal


@dataclass
class Saving:
    """A picture on its way to the disk, and how far it got."""

    new: NewPicture
    document: bytes = b""
    id: str = ""
    reserved: Count = field(default_factory=Count)
    draft: Draft | None = None
    published: bool = False
    error: DetectorApplianceError | None = None

    @property
    def count(self) -> Count:
        """As one picture of its size."""
        return Count(1, len(self.new.picture) + len(self.document))


class Bookkeeping(Protocol):
    """What is told of each picture as it comes. Called from the saving thread."""

    def reserve(self, saving: Saving) -> None:
        """Give it room and an id. Raises `NoRoom`."""

    def publish(self, saving: Saving) -> None:
        """Give it its name on the disk, and count it. Raises OSError."""

    def give_up(self, saving: Saving) -> None:
        """It does not come, or goes again."""


def save_all(savings: Sequence[Saving], files: PictureFiles, books: Bookkeeping) -> None:
    """Bring pictures to the disk; afterwards each has its id and is safe there, or has an error and is not there."""

    def describe(saving: Saving) -> None:
        saving.document = saving.document or saving.new.document()

    def write(saving: Saving) -> None:
        saving.draft = files.draft(saving.new.queue, saving.id)
        files.write(saving.draft, saving.new.picture, saving.document)

    def sync(saving: Saving) -> None:
        assert saving.draft is not None
        files.sync(saving.draft)

    try:
        for step in (_first(describe, books.reserve, write), sync, books.publish):
            for saving in savings:
                if saving.error is None:
                    _attempt(step, saving, files, books)
    finally:
        for saving in savings:
            if saving.draft is not None:
                saving.draft.close()
    _sync_queues(savings, files, books)


def _first(*steps: Callable[[Saving], None]) -> Callable[[Saving], None]:
    def all_of_them(saving: Saving) -> None:
        for step in steps:
            step(saving)

    return all_of_them


def _attempt(step: Callable[[Saving], None], saving: Saving, files: PictureFiles, books: Bookkeeping) -> None:
    try:
        step(saving)
    except OSError as error:
        saving.error = _refused(error)
    except DetectorApplianceError as error:
        saving.error = error
    if saving.error is not None:
        books.give_up(saving)
        if saving.draft is not None:
            saving.draft.close()
            files.discard(saving.draft.hidden)


def _sync_queues(savings: Sequence[Saving], files: PictureFiles, books: Bookkeeping) -> None:
    for queue in QUEUES:
        arrived = [saving for saving in savings if saving.new.queue == queue and saving.error is None]
        if not arrived:
            continue
        try:
            files.sync_queue(queue)
        except OSError as error:
            # Nobody can tell what the disk holds now. Who is told that it was refused will send it again.
            for saving in arrived:
                saving.error = _refused(error)
                books.give_up(saving)


def _refused(error: OSError) -> DetectorApplianceError:
    refused = refusal(error, "keep the picture in the outbox")
    refused.__cause__ = error
    return refused
