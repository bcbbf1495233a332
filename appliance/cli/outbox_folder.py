"""The outbox without a server: its folders, read and changed as the server would. The index is none of a command's
business: the next start corrects it from the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance.outbox import folders
from appliance.outbox.export import packed
from appliance.outbox.files import PictureFiles, refusing
from appliance.outbox.folders import FOLDERS, QUEUES, REJECTED, Folder, is_id
from appliance.outbox.index import Entry
from appliance.outbox.ledger import entry_of
from appliance.outbox.queue import StoredPicture
from appliance.outbox.report import item
from models.errors import InvalidInput
from models.files import FILE_SYSTEM


class OutboxFolder:
    """See the module's docstring. All methods block, and raise `StorageRefused` where the disk fails."""

    def __init__(self, data_folder: Path) -> None:
        self._root = data_folder / "outbox"
        self._pictures = PictureFiles(self._root, FILE_SYSTEM)

    def count(self, *, rejected: bool) -> int:
        """How many there are; those that lack a file count too."""
        with refusing(f"list the pictures in {self._root}"):
            return sum(len(self._pictures.ids(folder)) for folder in _among(rejected))

    def items(self, *, rejected: bool) -> Iterator[dict[str, Any]]:
        """As `GET /api/v1/outbox/items` has them, and in its order."""
        for folder in _among(rejected):
            with refusing(f"list the pictures in {self._root}"):
                found = self._pictures.ids(folder)
            for item_id in found if folder == "priority" else reversed(found):
                entry = entry_of(self._pictures, folder, item_id)
                if entry is not None:
                    yield item(entry).model_dump()

    def item(self, item_id: str) -> dict[str, Any] | None:
        """As `GET /api/v1/outbox/items/{item_id}`."""
        entry = self._find(item_id)
        data = None if entry is None else self._read(entry)
        if entry is None or data is None:
            return None
        try:
            metadata = json.loads(data[1])
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"The file image_{item_id}.json is damaged: it must hold JSON.") from error
        return {**item(entry).model_dump(), "metadata": metadata}

    def picture(self, item_id: str) -> bytes | None:
        """As it came."""
        entry = self._find(item_id)
        data = None if entry is None else self._read(entry)
        return None if data is None else data[0]

    def retry(self, item_id: str | None = None) -> int:
        """Put a rejected picture back, all where none is named; how many."""
        with refusing("put rejected pictures back"):
            ids = self._pictures.ids(REJECTED) if item_id is None else [_checked(item_id)]
            return sum(self._pictures.put_back(each) for each in ids)

    def clear(self, *, rejected: bool) -> Iterator[int]:
        """Delete them for good; how many so far, again and again."""
        count = 0
        with refusing("clear the outbox"):
            for folder in _among(rejected):
                ids = self._pictures.ids(folder)
                for start in range(0, len(ids), 100):
                    hidden = [self._pictures.hide(folder, item_id) for item_id in ids[start : start + 100]]
                    self._pictures.discard_all({folder: [path for path in hidden if path is not None]})
                    count += sum(path is not None for path in hidden)
                    yield count

    def size(self, *, rejected: bool) -> int:
        """Bytes of pictures and metadata together."""
        with refusing(f"list the pictures in {self._root}"):
            return sum(
                folders.size(self._root / folder / item_id, item_id) or 0
                for folder in _among(rejected)
                for item_id in self._pictures.ids(folder)
            )

    def packed(self, *, rejected: bool) -> Iterator[bytes]:
        """The pictures as a zip, as `GET /api/v1/outbox/export` has it."""
        with refusing(f"list the pictures in {self._root}"):
            found = [item_id for folder in _among(rejected) for item_id in self._pictures.ids(folder)]
        return packed(found, self._stored)

    def _stored(self, item_id: str) -> StoredPicture | None:
        entry = self._find(item_id)
        data = None if entry is None else self._read(entry)
        return None if entry is None or data is None else StoredPicture(entry, *data)

    def _find(self, item_id: str) -> Entry | None:
        _checked(item_id)
        return next((found for folder in FOLDERS if (found := entry_of(self._pictures, folder, item_id))), None)

    def _read(self, entry: Entry) -> tuple[bytes, bytes] | None:
        with refusing(f"read the picture {entry.id} of the outbox"):
            return self._pictures.read(entry.folder, entry.id)


def _checked(item_id: str) -> str:
    if not is_id(item_id):
        raise InvalidInput(f"{item_id[:100]!r} is no picture's id; `appliance outbox list` shows them.")
    return item_id


def _among(rejected: bool) -> Sequence[Folder]:
    return (REJECTED,) if rejected else QUEUES
