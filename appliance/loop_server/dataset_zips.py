"""Zips of pictures and JSON documents, which are hostile: nothing of them is written under a name that they say.

Members are read one at a time, each up to its own limit; names are keys, never paths.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from models.errors import InputTooLarge, InvalidInput

MIB = 2**20

MAX_MEMBERS = 500_000
MAX_LIST = 128 * MIB
"""Bytes that the zip's own list of its members may have."""

MAX_EXPANSION = 50
"""How many times larger than the zip its members may be together: JSON packs well, pictures do not."""

_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class DatasetZip:
    """An open zip. All that is read of it counts against one bound."""

    def __init__(self, archive: zipfile.ZipFile, zip_bytes: int) -> None:
        members = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(members) > MAX_MEMBERS:
            raise InputTooLarge(f"The zip has {len(members)} files; up to {MAX_MEMBERS} are taken")
        self._archive = archive
        self._left = max(64 * MIB, MAX_EXPANSION * zip_bytes)
        self._members = {_normal(entry.filename): entry for entry in members}
        self._by_plain_name: dict[str, list[str]] = {}
        for name in self._members:
            self._by_plain_name.setdefault(PurePosixPath(name).name, []).append(name)

    def documents(self) -> list[str]:
        """The names of all JSON files, but for those that macOS adds."""
        return sorted(name for name in self._members if name.lower().endswith(".json") and "__MACOSX" not in name)

    def find(self, name: str) -> str | None:
        """The member that a document calls `name`: that path, one that ends so, or the only file of that name."""
        wanted = _normal(name)
        if wanted in self._members:
            return wanted
        alike = self._by_plain_name.get(PurePosixPath(wanted).name, [])
        ending = [each for each in alike if each.endswith(f"/{wanted}")]
        candidates = ending or alike
        return candidates[0] if len(candidates) == 1 else None

    def read(self, name: str, limit: int) -> bytes:
        """A member. Raises `InputTooLarge`, `InvalidInput` where it cannot be read."""
        with _reading(name), self._archive.open(self._members[name]) as source:
            data = source.read(limit + 1)
        if len(data) > limit:
            raise InputTooLarge(f"{name[:200]} in the zip has more than {limit // MIB} MiB")
        self._left -= len(data)
        if self._left < 0:
            raise InputTooLarge("The zip unpacks to many times its size: that is a zip bomb, no data set")
        return data


@contextmanager
def opened(path: Path) -> Iterator[DatasetZip]:
    """A zip on the disk. Raises `InvalidInput` for what is none, `InputTooLarge`."""
    with _Bounded(path) as file:
        with _reading("its list of files"):
            archive = zipfile.ZipFile(file)
        with archive:
            yield DatasetZip(archive, path.stat().st_size)


class _Bounded(io.BufferedReader):
    """Refuses to read much at once: zipfile reads the list of members in one call, however long the zip says it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io`."""
        if size is not None and 0 <= size <= MAX_LIST:
            return super().read(size)
        data = super().read(MAX_LIST + 1)
        if len(data) > MAX_LIST:
            raise InputTooLarge(f"The zip's list of files alone is longer than {MAX_LIST // MIB} MiB")
        return data


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise InvalidInput(f"This is no zip, or a damaged one: {what[:200]} cannot be read ({error})") from error


def _normal(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").lstrip("/")
