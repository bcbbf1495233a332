"""By which uuid this node is known in the Loop.

`DATA/uuids.json` is an object of node name -> uuid, as learning-loop-node writes it.
"""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path

from models.errors import StorageRefused
from models.files import FileSystem, refusal

log = logging.getLogger(__name__)

UUIDS_FILE = "uuids.json"

MAX_FILE_BYTES = 1 << 20
LONGEST_UUID = 100


def node_uuid(path: Path, name: str, files: FileSystem) -> str:
    """The uuid of the node of this name, kept over restarts; a new one where there is none. Blocks.

    A file that holds one uuid, under another name, belongs to the same box before it was renamed: it keeps it. A file
    that cannot be understood is kept aside. Where the disk does not let it be stored, the uuid holds until the next start.
    """
    known = _read(path, files)
    found = known.get(name) or known.get(_as_upstream_writes_it(name))
    if found is not None:
        return found
    candidates = set(known.values())
    made = candidates.pop() if len(candidates) == 1 else str(uuid.uuid4())
    if made in known.values():
        log.info("this box keeps the uuid %s, which it had as %s", made, " and ".join(sorted(known)))
    elif known:
        log.warning(
            "%s knows %s, and none of them is %s: this box gets a new uuid in the Loop; with node_name as one of them it "
            "keeps that one's",
            path,
            ", ".join(sorted(known)),
            name,
        )
    try:
        files.make_folders(path.parent)
        files.write_atomically(path, json.dumps({**known, name: made}).encode())
    except OSError as error:
        log.error("the uuid of this box changes with the next start: %s", refusal(error, f"store it in {path}"))
    return made


def _as_upstream_writes_it(name: str) -> str:
    return name.lower().replace(" ", "_")


def _read(path: Path, files: FileSystem) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_FILE_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.error("%s", refusal(error, f"read the uuids in {path}"))
        return {}
    except (ValueError, RecursionError) as error:
        return _set_aside(path, str(error), files)
    if not isinstance(document, dict):
        return _set_aside(path, "it holds no JSON object", files)
    return {
        name: value for name, value in document.items() if isinstance(value, str) and 0 < len(value) <= LONGEST_UUID
    }


def _set_aside(path: Path, why: str, files: FileSystem) -> dict[str, str]:
    aside = path.with_name(f"{path.name}.corrupt")
    log.error("%s cannot be understood (%s); it is kept as %s, and this box gets a new uuid", path, why, aside.name)
    try:
        files.rename_durably(path, aside)
    except OSError as error:
        log.error("%s", StorageRefused(f"it cannot be set aside: {error.strerror}"))
    return {}
