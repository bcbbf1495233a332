"""Pictures that go: sent, thinned or deleted. Their names go first, then the books, then the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from appliance.outbox import folders
from appliance.outbox.files import PictureFiles, refusing
from appliance.outbox.folders import FOLDERS, QUEUES, Folder
from appliance.outbox.index import Tally
from appliance.outbox.ledger import Ledger

CLEARED_AT_ONCE = 500
"""Others may save in between."""

T = TypeVar("T")


class Departures:
    """See the module's docstring."""

    def __init__(self, pictures: PictureFiles, ledger: Ledger) -> None:
        self._pictures = pictures
        self._ledger = ledger

    def sent(self, item_ids: Sequence[str]) -> None:
        """See `Outbox.sent`."""
        with refusing("delete pictures that were sent"):
            with self._ledger.lock:
                hidden = self.hide(self._where(item_ids), "sent", missing="sent")
            self._pictures.discard_all(hidden)

    def remove_all(self, item_ids: Iterable[str]) -> int:
        """See `Outbox.remove_all`."""
        known = list(dict.fromkeys(filter(folders.is_id, item_ids)))
        with refusing("delete pictures of the outbox"):
            return sum(self._withdraw(dict.fromkeys(FOLDERS, some)) for some in _in_chunks(known, CLEARED_AT_ONCE))

    def clearing(self, among: Sequence[Folder]) -> Iterator[int]:
        """See `Outbox.clearing`."""
        count = 0
        with refusing("clear the outbox"):
            for folder in among:
                for some in self._to_clear(folder):
                    count += self._withdraw({folder: some})
                    yield count

    def _to_clear(self, folder: Folder) -> Iterator[Sequence[str]]:
        """What the index knows now, a part at a time: to list and sort all names on the disk would stop other threads for
        long. Then what only the disk knows.
        """
        newest = next((entry.id for entry in self._ledger.page(folder, 1, newest_first=True)), "")
        while some := [entry.id for entry in self._ledger.page(folder, CLEARED_AT_ONCE) if entry.id <= newest]:
            yield some
        yield from _in_chunks(self._ledger.unknown(folder), CLEARED_AT_ONCE)

    def hide(
        self, chosen: Mapping[Folder, Sequence[str]], tally: Tally, missing: Tally = "vanished"
    ) -> dict[Folder, list[Path]]:
        """Take names away and count them; for everybody else these pictures are gone. `discard_all` follows."""
        hidden: dict[Folder, list[Path]] = {}
        for folder, item_ids in chosen.items():
            found = {item_id: self._pictures.hide(folder, item_id) for item_id in item_ids}
            self._ledger.leave(folder, [item_id for item_id, path in found.items() if path is not None], tally)
            self._ledger.leave(folder, [item_id for item_id, path in found.items() if path is None], missing)
            hidden[folder] = [path for path in found.values() if path is not None]
        return hidden

    def _withdraw(self, chosen: Mapping[Folder, Sequence[str]]) -> int:
        with self._ledger.lock:
            hidden = self.hide(chosen, "deleted")
        self._pictures.discard_all(hidden)
        return sum(map(len, hidden.values()))

    def _where(self, item_ids: Iterable[str]) -> dict[Folder, list[str]]:
        found: dict[Folder, list[str]] = defaultdict(list)
        for entry in self._ledger.these(item_ids, QUEUES):
            found[entry.folder].append(entry.id)
        return found


def _in_chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
