"""Pictures as files: how one comes to the disk, changes its place, and goes, so that a power cut at any step does no harm.

What a power cut leaves of a picture that was just coming or going lies under a hidden name, and is swept at the next
start. See `folders` for the layout. Nothing here counts or decides.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import PydanticSerializationError

from appliance.outbox import folders, reasons
from appliance.outbox.folders import FOLDERS, QUEUES, REASON, REJECTED, REMOVING, SAVING, Folder, Queue
from models.errors import InvalidInput, NoRoom
from models.files import FileSystem, refusal
from models.wire.image_metadata import ImageMetadata

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewPicture:
    """A picture to be kept: its encoded bytes as they came, and what is known of it. Nobody may change it any more."""

    picture: bytes
    metadata: ImageMetadata
    priority: bool = False

    @property
    def queue(self) -> Queue:
        """Where it will wait."""
        return "priority" if self.priority else "normal"

    @property
    def asked_for(self) -> bool:
        """Whether it is a promise; see `reasons`."""
        return reasons.was_asked_for(self.metadata.tags)

    def document(self) -> bytes:
        """The metadata as it is stored and sent. Raises `InvalidInput` where it cannot be written as JSON."""
        try:
            return self.metadata.model_dump_json().encode()
        except PydanticSerializationError as error:
            raise InvalidInput(f"The metadata of the picture cannot be written as JSON: {error}.") from error


@dataclass
class Draft:
    """A picture on its way to the disk: it is being written under a hidden name, and not there yet."""

    folder: Folder
    id: str
    hidden: Path
    opened: list[BinaryIO] = field(default_factory=list)

    def close(self) -> None:
        """Close what is open."""
        for file in self.opened:
            # Closing tries once more to write what a full disk did not take; the picture is given up already.
            with suppress(OSError):
                file.close()
        self.opened.clear()


class PictureFiles:
    """The folder `root` and the pictures in it. All methods block, and raise OSError where they do not say otherwise."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        self.root = root
        self._files = files

    def prepare(self) -> None:
        """Make what is missing, and sweep what a power cut has left."""
        for queue in QUEUES:
            self._files.make_folders(self.root / queue)
        for folder in FOLDERS:
            for name in folders.names(self.root / folder):
                if name.startswith((SAVING, REMOVING)):
                    self.discard(self.root / folder / name)

    def free_bytes(self) -> int:
        """What may still be written to the disk."""
        try:
            return self._files.free_bytes(self.root)
        except FileNotFoundError:  # a person has deleted the whole outbox
            self._files.make_folders(self.root)
            return self._files.free_bytes(self.root)

    def exists(self, item_id: str) -> bool:
        """Whether there is a picture of this id, complete or not."""
        return any((self.root / folder / item_id).exists() for folder in FOLDERS)

    # -- coming ----------------------------------------------------------------------------------------------------

    def draft(self, folder: Folder, item_id: str) -> Draft:
        """Begin with a picture."""
        hidden = self.root / folder / f"{SAVING}{item_id}"
        try:
            self._files.make_folder(hidden)
        except FileNotFoundError:  # a person has deleted the whole queue, or the whole outbox
            self._files.make_folders(hidden.parent)
            self._files.make_folder(hidden)
        return Draft(folder, item_id, hidden)

    def write(self, draft: Draft, picture: bytes, document: bytes, beside: Mapping[str, bytes] | None = None) -> None:
        """Hand all files to the disk; they are not safe there before `sync`."""
        picture_path, document_path = map(Path, folders.paths(draft.hidden, draft.id))
        others = {draft.hidden / name: data for name, data in (beside or {}).items()}
        for path, data in {picture_path: picture, document_path: document, **others}.items():
            file = self._files.create_exclusive(path)
            draft.opened.append(file)
            file.write(data)

    def sync(self, draft: Draft) -> None:
        """Return when all files are on the disk."""
        for file in draft.opened:
            self._files.sync_file(file)
        draft.close()
        self._files.sync_folder(draft.hidden)

    def publish(self, draft: Draft) -> None:
        """Give it its name; that is safe after `sync_queue`."""
        self._files.rename(draft.hidden, self.root / draft.folder / draft.id)

    def sync_queue(self, folder: Folder) -> None:
        """Return when all names in a folder of the outbox are on the disk."""
        self._files.sync_folder(self.root / folder)

    # -- going -----------------------------------------------------------------------------------------------------

    def hide(self, folder: Folder, item_id: str) -> Path | None:
        """Take a picture's name away, for everybody at once; None if there is none. `sync_queue` and `discard` follow."""
        hidden = self.root / folder / f"{REMOVING}{item_id}"
        try:
            self._files.rename(self.root / folder / item_id, hidden)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return hidden

    def discard(self, hidden: Path) -> None:
        """Delete what is hidden. Raises nothing: the next start tries again."""
        try:
            self._remove_pair(hidden)
        except OSError:
            # There is more in it than we have put there.
            try:
                self._files.remove_tree(hidden)
            except OSError as error:
                log.warning("Could not delete %s (%s); the next start tries again.", hidden, error)

    def _remove_pair(self, hidden: Path) -> None:
        """Looking into the folder first, as removing a tree does, costs half as much again."""
        item_id = hidden.name.removeprefix(REMOVING).removeprefix(SAVING)
        for name in folders.paths("", item_id):
            self._files.unlink(hidden / name[1:])
        self._files.remove_folder(hidden)

    def discard_all(self, hidden: Mapping[Folder, list[Path]]) -> None:
        """Delete what was hidden in these folders."""
        for folder, paths in hidden.items():
            if paths:
                # Else a power cut might bring back the name of a folder that has lost its files already.
                with suppress(FileNotFoundError):
                    self.sync_queue(folder)
            for path in paths:
                self.discard(path)

    # -- changing place --------------------------------------------------------------------------------------------

    def reject(self, queue: Folder, item_id: str, note: Mapping[str, Any]) -> bool:
        """Move a picture to the rejected ones, with a note on why; False if it is gone meanwhile."""
        return self.move(queue, REJECTED, item_id, {REASON: json.dumps(note).encode()})

    def move(self, source: Folder, target: Folder, item_id: str, beside: Mapping[str, bytes] | None = None) -> bool:
        """Move a picture, with files `beside` it; False if it is gone meanwhile.

        It is written anew: a power cut may leave it in both places, where a rename from one folder to another may, on
        file systems without a journal, leave it in none. On a full disk that is the lesser evil.
        """
        data = self.read(source, item_id)
        if data is None:
            return False
        if self.facts(target, item_id) is None:
            try:
                self._write_anew(target, item_id, data, beside or {})
            except OSError as error:
                if not isinstance(refusal(error, "move a picture"), NoRoom):
                    raise
                log.warning("The disk is full: %s is only renamed, without a note on why.", item_id)
                return self._rename(source, target, item_id)
        hidden = self.hide(source, item_id)
        if hidden is not None:
            self.discard_all({source: [hidden]})
        return True

    def _write_anew(self, target: Folder, item_id: str, data: tuple[bytes, bytes], beside: Mapping[str, bytes]) -> None:
        draft = self.draft(target, item_id)
        try:
            self.write(draft, *data, beside)
            self.sync(draft)
            self.publish(draft)
        except OSError:
            self.discard(draft.hidden)
            raise
        finally:
            draft.close()
        self.sync_queue(target)

    def _rename(self, source: Folder, target: Folder, item_id: str) -> bool:
        try:
            self._files.make_folders(self.root / target)
            self._files.rename_durably(self.root / source / item_id, self.root / target / item_id)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def put_back(self, item_id: str) -> bool:
        """Move a rejected picture to the queue that it came from; False if it is gone meanwhile."""
        return self.move(REJECTED, self.queue_before(item_id), item_id)

    def queue_before(self, item_id: str) -> Queue:
        """The queue from which a rejected picture came."""
        return "priority" if self.note(REJECTED, item_id).get("queue") == "priority" else "normal"

    def note(self, folder: Folder, item_id: str) -> dict[str, Any]:
        """The note on a rejection; empty where there is none, or one that cannot be read."""
        try:
            found = json.loads((self.root / folder / item_id / REASON).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, folder: Folder, item_id: str, expected: int = 1 << 20) -> tuple[bytes, bytes] | None:
        """Picture and metadata, which should not be longer than `expected`; None where they are not both there."""
        picture, metadata = folders.paths(f"{self.root}/{folder}/{item_id}", item_id)
        try:
            return folders.read(picture, expected + 1), folders.read(metadata)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def facts(self, folder: Folder, item_id: str) -> folders.Facts | None:
        """See `folders.facts`."""
        return folders.facts(f"{self.root}/{folder}/{item_id}", item_id)

    def ids(self, folder: Folder) -> list[str]:
        """Sorted."""
        return folders.ids(self.root / folder)


@contextmanager
def refusing(doing: str) -> Iterator[None]:
    """OSError within becomes `StorageRefused`, or `NoRoom`."""
    try:
        yield
    except OSError as error:
        raise refusal(error, doing) from error
