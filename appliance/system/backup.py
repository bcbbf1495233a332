"""A copy of what a box has become, as a plain tar: state, and where wanted models and pictures.

It can be made while a server runs: state is written atomically, models and pictures never change where they lie. The last
entry holds the sha256 of all others, so that an archive that was cut off is known for what it is. Nothing is compressed:
models and pictures do not shrink, and nothing that is unpacked can be larger than the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from appliance.system.contents import STATE, files_of
from appliance.versions.state import STATE_FILE
from models.errors import StorageRefused
from models.files import FILE_SYSTEM, FileSystem, refusal

VERSION = 1
HEAD = "backup.json"
SUMS = "sums.json"

ATTEMPTS = 5
"""How often it is begun again because the choice of the model has changed meanwhile."""

_TEMPORARY = ".{name}.new"


@dataclass
class Backup:
    """What was written: number of files, their bytes, and the names of the state among them."""

    files: int = 0
    bytes: int = 0
    state: list[str] = field(default_factory=list)


def make(
    data: Path,
    target: Path,
    parts: Collection[str] = (),
    *,
    files: FileSystem = FILE_SYSTEM,
    now: Callable[[], float] = time.time,
) -> Backup:
    """Write the backup of `data` to `target`, complete or not at all; `parts` are of `models` and `outbox`. Blocks.

    It holds what lets people in, so it is readable for its owner alone. Raises `StorageRefused`.
    """
    temporary = target.with_name(_TEMPORARY.format(name=target.name))
    try:
        for _ in range(ATTEMPTS):
            files.remove_tree(temporary)
            before = _bytes(data / STATE_FILE)
            made = _write(data, temporary, parts, files, now())
            if not parts or _bytes(data / STATE_FILE) == before:
                files.rename_durably(temporary, target)
                return made
    except OSError as error:
        raise refusal(error, f"write the backup {target}") from error
    finally:
        _forget(temporary, files)
    raise StorageRefused("The model of this box changes again and again just now. Make the backup a little later.")


def _write(data: Path, path: Path, parts: Collection[str], files: FileSystem, now: float) -> Backup:
    made, sums = Backup(), {}
    with files.create_exclusive(path) as file:
        os.fchmod(file.fileno(), 0o600)
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:

            def put(name: str, content: bytes) -> None:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = len(content), int(now), 0o600
                archive.addfile(entry, io.BytesIO(content))

            put(HEAD, _head(parts, now))
            for name in STATE:
                if (content := _bytes(data / name)) is not None:
                    put(name, content)
                    sums[name] = hashlib.sha256(content).hexdigest()
                    made.state.append(name)
                    made.bytes += len(content)
            for part in sorted(parts):
                for source in files_of(data, part):
                    name = source.relative_to(data).as_posix()
                    try:
                        source_file = _Hashing(source)
                    except FileNotFoundError:
                        continue  # sent, or removed, meanwhile: what is not whole is left out when it is restored
                    with source_file:
                        entry = tarfile.TarInfo(name)
                        entry.size, entry.mtime, entry.mode = os.fstat(source_file.fileno()).st_size, int(now), 0o600
                        archive.addfile(entry, source_file)
                    sums[name] = source_file.digest.hexdigest()
                    made.bytes += entry.size
            put(SUMS, json.dumps(sums).encode())
        files.sync_file(file)
    made.files = len(sums)
    return made


class _Hashing(io.FileIO):
    """A file that knows the sha256 of what was read of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.digest = hashlib.sha256()

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file."""
        data = super().read(-1 if size is None else size) or b""
        self.digest.update(data)
        return data


def _head(parts: Collection[str], now: float) -> bytes:
    appliance = metadata.version("detector-appliance")
    return json.dumps({"version": VERSION, "made": now, "appliance": appliance, "parts": sorted(parts)}).encode()


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _forget(path: Path, files: FileSystem) -> None:
    try:
        files.remove_tree(path)
    except OSError:
        return  # the next backup of that name does it
