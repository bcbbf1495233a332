"""Pictures of the outbox as files for people: each as it was stored, what is known of it beside, and at the end a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from appliance.outbox.folders import FOLDERS, QUEUES, REJECTED, Folder
from appliance.outbox.queue import StoredPicture
from appliance.zip_stream import ZipStream
from models.errors import StorageRefused

Selection = Literal["waiting", "normal", "priority", "rejected", "all"]

SELECTIONS: Mapping[Selection, Sequence[Folder]] = {
    "waiting": QUEUES,
    "normal": ("normal",),
    "priority": ("priority",),
    "rejected": (REJECTED,),
    "all": FOLDERS,
}
"""What people ask for, and where it lies."""

assert set(SELECTIONS) == set(get_args(Selection))

MANIFEST = "manifest.json"

GONE = "It is not here any more: it was sent, or deleted."


def members(item_ids: Iterable[str], read: Callable[[str], StoredPicture | None]) -> Iterator[tuple[str, bytes]]:
    """Files by name: `normal/image_<id>.jpg` and `.json` as they were stored; `.reason.json` where the Loop said something.

    A picture that `read` does not find, or not read, is left out and named in the manifest, which comes last: `pictures`
    and their `bytes`, and of those `left_out` their `id` and `why`. Colons in ids, which not every file system takes, become
    dashes.
    """
    pictures = size = 0
    left_out: list[dict[str, str]] = []
    for item_id in item_ids:
        try:
            found = read(item_id)
        except StorageRefused as error:
            left_out.append({"id": item_id, "why": str(error)})
            continue
        if found is None:
            left_out.append({"id": item_id, "why": GONE})
            continue
        stem = f"{found.entry.folder}/image_{item_id.replace(':', '-')}"
        yield f"{stem}.jpg", found.picture
        yield f"{stem}.json", found.document
        if found.entry.reason is not None:
            yield f"{stem}.reason.json", json.dumps({"reason": found.entry.reason}).encode()
        pictures += 1
        size += len(found.picture)
    manifest = {"pictures": pictures, "bytes": size, "left_out": left_out}
    yield MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode()


def packed(item_ids: Iterable[str], read: Callable[[str], StoredPicture | None]) -> Iterator[bytes]:
    """The same as a zip, in pieces, made as they are asked for. Blocks at each."""
    return iter(ZipStream(members(item_ids, read)))
