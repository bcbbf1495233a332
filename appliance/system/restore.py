"""A backup put back, whole or not at all.

Everything is unpacked into `DATA/.restore` and checked there, synced, and only then declared decided, by one file. From
there on it is put into place, and whoever finds a decided restore that was cut off goes on with it: `finish` does the same
again as often as it is called. State is replaced; models and pictures that are there already stay as they are, for a
picture that was acknowledged since must not be lost to an older copy of the outbox.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from appliance.system.backup import HEAD, SUMS, VERSION
from appliance.system.contents import MODELS, OUTBOX, STATE, check_unit, unit_of
from models.errors import InvalidInput, NoRoom
from models.files import FILE_SYSTEM, NO_SECOND_NAMES, FileSystem, refusal

FOLDER = ".restore"
DECIDED = "decided"
_FILES = "files"
_COMING = ".incoming-"

MAX_ENTRIES = 300_000
MAX_LIST_BYTES = 256 << 20
_CHUNK = 1 << 20


@dataclass
class Preview:
    """What a restore will do: state that it replaces, state that is new, models and pictures that it adds or leaves alone."""

    replaced: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    models: int = 0
    models_there: int = 0
    pictures: int = 0
    pictures_there: int = 0


def stage(data: Path, archive: Path, files: FileSystem = FILE_SYSTEM, *, floor: int = 0) -> Preview:
    """Unpack and check; nothing in its place is touched. `floor`: bytes of the disk that stay free. Blocks.

    Raises `InvalidInput` where the archive is none, is cut off, or holds what does not belong there; `StorageRefused`.
    """
    staged = data / FOLDER
    try:
        files.make_folders(data)
        discard(data, files)
        size = archive.stat().st_size
        if files.free_bytes(data) - 2 * size < floor:
            raise NoRoom(
                f"{archive.name} needs {2 * size / 1e6:.0f} MB while it is restored, and the disk has not that much."
            )
        files.make_folder(staged)
        files.make_folder(staged / _FILES)
        units = _unpack(staged / _FILES, archive, files)
        for unit in sorted(units):
            check_unit(staged / _FILES, unit)
    except OSError as error:
        raise refusal(error, f"restore {archive}") from error
    return _preview(data, units)


def decide(data: Path, files: FileSystem = FILE_SYSTEM) -> None:
    """From here on there is no way back, and no power cut that stops it. Blocks. Raises `StorageRefused`."""
    try:
        files.sync_everything()
        files.write_atomically(data / FOLDER / DECIDED, b"")
    except OSError as error:
        raise refusal(error, "restore the backup") from error
    finish(data, files)


def finish(data: Path, files: FileSystem = FILE_SYSTEM) -> bool:
    """Put a decided restore into place; one that was not decided is thrown away. True if there was one. Blocks."""
    staged = data / FOLDER
    if not (staged / DECIDED).exists():
        discard(data, files)
        return False
    try:
        for unit in sorted(_units_in(staged / _FILES)):
            _put(staged / _FILES / unit, data / unit, files)
        files.sync_everything()
        files.unlink(staged / DECIDED)
        files.sync_folder(staged)
        files.remove_tree(staged)
    except OSError as error:
        raise refusal(error, "finish the restore of a backup") from error
    return True


def discard(data: Path, files: FileSystem = FILE_SYSTEM) -> None:
    """Throw away what was staged."""
    try:
        files.remove_tree(data / FOLDER)
    except OSError as error:
        raise refusal(error, "clear away an earlier restore") from error


def _put(source: Path, target: Path, files: FileSystem) -> None:
    if source.is_file():
        files.write_atomically(target, source.read_bytes())
        target.chmod(0o600 if target.name in STATE else 0o644)
        return
    if target.exists():
        return
    files.make_folders(target.parent)
    coming = target.with_name(f"{_COMING}{target.name}")
    files.remove_tree(coming)
    files.make_folder(coming)
    for path in source.iterdir():
        try:
            files.link(path, coming / path.name)
        except OSError as error:
            if error.errno not in NO_SECOND_NAMES:
                raise
            with path.open("rb") as content:
                files.write_file(coming / path.name, iter(lambda: content.read(_CHUNK), b""))
    files.sync_folder(coming)
    files.rename_durably(coming, target)


def _unpack(target: Path, path: Path, files: FileSystem) -> set[PurePosixPath]:
    sums: dict[str, str] = {}
    units: set[PurePosixPath] = set()
    promised: dict[str, str] | None = None
    with _archive(path) as archive:
        for number, entry in enumerate(archive):
            if number >= MAX_ENTRIES:
                raise InvalidInput(f"{path.name} holds more than {MAX_ENTRIES:,} entries.")
            if promised is not None:
                raise InvalidInput(f"{path.name} goes on after its end.")
            if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.sparse is not None:
                raise InvalidInput(f"{path.name} holds {_shown(entry.name)}, which is no plain file.")
            content = archive.extractfile(entry)
            assert content is not None  # it is a file
            if number == 0:
                _check_head(path, entry, content)
            elif entry.name == SUMS:
                promised = _read_sums(path, entry, content)
            else:
                unit = unit_of(entry.name)
                if unit is None or entry.name in sums:
                    raise InvalidInput(f"{path.name} holds {_shown(entry.name)}, which does not belong into a backup.")
                units.add(unit)
                sums[entry.name] = _write(target, entry.name, content, entry.size, files)
    if promised is None:
        raise InvalidInput(f"{path.name} is cut off: its end is missing.")
    if promised != sums:
        raise InvalidInput(f"{path.name} is damaged: its files are not those that were put in.")
    return _without_halves(target, units, files)


def _without_halves(target: Path, units: set[PurePosixPath], files: FileSystem) -> set[PurePosixPath]:
    """What went away while the backup was made can be there in part: that is left out."""
    whole = set()
    for unit in units:
        names = {each.name for each in (target / unit).glob("*")}
        needed = {OUTBOX: {f"image_{unit.name}.jpg", f"image_{unit.name}.json"}, MODELS: {"model.json"}}
        if not needed.get(unit.parts[0], set()) <= names:
            files.remove_tree(target / unit)
        else:
            whole.add(unit)
    return whole


def _write(target: Path, name: str, content: IO[bytes], size: int, files: FileSystem) -> str:
    digest, written = hashlib.sha256(), 0

    def chunks() -> Iterator[bytes]:
        nonlocal written
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            written += len(chunk)
            yield chunk

    path = target / name
    files.make_folders(path.parent)
    files.write_file(path, chunks())
    if written != size:
        raise InvalidInput("The backup is cut off: a file in it is shorter than it should be.")
    return digest.hexdigest()


@contextmanager
def _archive(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as archive:  # nothing compressed: nothing is larger than the archive
            yield archive
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"{path.name} is no backup of an appliance, or damaged: {error}.") from error


def _check_head(path: Path, entry: tarfile.TarInfo, content: IO[bytes]) -> None:
    try:
        head = json.loads(content.read(4096)) if entry.name == HEAD else None
    except ValueError:
        head = None
    if not isinstance(head, dict):
        raise InvalidInput(f"{path.name} is no backup of an appliance; `appliance backup FILE` makes one.")
    if head.get("version") != VERSION:
        raise InvalidInput(f"{path.name} was made by a newer version of this program: restore it with that one.")


def _read_sums(path: Path, entry: tarfile.TarInfo, content: IO[bytes]) -> dict[str, str]:
    if entry.size > MAX_LIST_BYTES:
        raise InvalidInput(f"{path.name} is damaged: its list of files is far too long.")
    sums = json.loads(content.read())
    if not isinstance(sums, dict):
        raise InvalidInput(f"{path.name} is damaged: its list of files is none.")
    return sums


def _units_in(staged: Path) -> set[PurePosixPath]:
    names = (path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
    return {unit for unit in map(unit_of, names) if unit is not None}


def _preview(data: Path, units: set[PurePosixPath]) -> Preview:
    preview = Preview()
    for unit in sorted(units):
        there = (data / unit).exists()
        if unit.parts[0] == MODELS:
            preview.models, preview.models_there = preview.models + (not there), preview.models_there + there
        elif unit.parts[0] == OUTBOX:
            preview.pictures, preview.pictures_there = preview.pictures + (not there), preview.pictures_there + there
        else:
            (preview.replaced if there else preview.new).append(unit.name)
    return preview


def _shown(name: str) -> str:
    return ascii(name[:80])
