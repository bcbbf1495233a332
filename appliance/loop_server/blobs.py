"""Pictures and zips, named by their sha256: what has a name is complete, and the same bytes are kept once.

    BLOBS/ab/abcd…      what is kept, in 256 folders that the first start makes
    BLOBS/.incoming/    what is being written; emptied at the start

Whether a blob is still needed says the database. A blob is there before the row that names it is committed, so a power
cut leaves at most one that nobody names; the next start removes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

from models.errors import NoRoom, NotInLoop
from models.files import FILE_SYSTEM, FileSystem, refusal

INCOMING = ".incoming"
FREE_SPACE_FLOOR = 200 * 1000 * 1000
"""Bytes that uploads leave free on the disk."""

NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Blob:
    """What is kept: name and bytes."""

    sha256: str
    size: int


class Storage(Protocol):
    """Where the bytes lie. All methods block; OSError becomes `StorageRefused` in `Blobs`."""

    def start(self) -> None:
        """Make what is needed, and remove what was not written to its end."""

    def write(self, chunks: Iterable[bytes], name: Callable[[], str]) -> None:
        """Keep the chunks under the name that is known once they have all been read; nothing if reading them fails."""

    def open(self, name: str) -> BinaryIO:
        """Read it. FileNotFoundError if there is none."""

    def holds(self, name: str) -> bool:
        """Whether it is there, and on the disk for good."""

    def delete(self, name: str) -> None:
        """Remove it; no error if there is none."""

    def names(self) -> Iterator[str]:
        """All that is there."""

    def free_bytes(self) -> int | None:
        """Bytes that may still be written; None where there is no telling."""


class Blobs:
    """The one place of pictures and zips. All methods block; any thread may call."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Make ready what is needed. Raises `StorageRefused`."""
        with _refusing("use the folder of pictures and models"):
            self._storage.start()

    @contextmanager
    def keeping(self) -> Iterator[Keeper]:
        """Put blobs that rows of the database will name.

        Until the block ends none of them is removed, not even one that was there before and loses its last row meanwhile:
        end it when the rows are committed.
        """
        with ExitStack() as stack:
            yield Keeper(self, stack)

    def open(self, sha256: str) -> BinaryIO:
        """Read one. Raises `NotInLoop` if it is not there."""
        with _refusing("read a file"):
            try:
                return self._storage.open(_checked(sha256))
            except FileNotFoundError as error:
                raise NotInLoop("The loop knows this file, but it has been removed from the disk") from error

    def read(self, sha256: str) -> bytes:
        """All bytes of one. Raises `NotInLoop` if it is not there."""
        with self.open(sha256) as file:
            return file.read()

    def holds(self, sha256: str) -> bool:
        """Whether one is there."""
        with _refusing("look for a file"):
            return self._storage.holds(_checked(sha256))

    def delete(self, sha256: str) -> None:
        """Remove one, unless somebody is about to name it (`keeping`)."""
        with self._lock:
            if not self._held[sha256]:
                with _refusing("remove a file"):
                    self._storage.delete(_checked(sha256))

    def names(self) -> Iterator[str]:
        """All that are there."""
        with _refusing("look through the files"):
            yield from self._storage.names()

    def check_room(self, size: int) -> None:
        """Raises `NoRoom` if that many bytes more would fill the disk up."""
        with _refusing("look at the disk"):
            free = self._storage.free_bytes()
        if free is not None and free - size < FREE_SPACE_FLOOR:
            raise NoRoom("The disk of the loop is nearly full: remove models or images that are not needed")

    def _put(self, chunks: Iterable[bytes], hold: Callable[[str], None]) -> Blob:
        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        def name() -> str:
            hold(digest.hexdigest())
            return digest.hexdigest()

        with _refusing("store a file"):
            self._storage.write(counted(), name)
        return Blob(digest.hexdigest(), size)

    def _put_bytes(self, data: bytes, hold: Callable[[str], None]) -> Blob:
        name = hashlib.sha256(data).hexdigest()
        hold(name)
        with _refusing("store a file"):
            if not self._storage.holds(name):
                self._storage.write([data], lambda: name)
        return Blob(name, len(data))

    def _hold(self, name: str) -> None:
        with self._lock:
            self._held[name] += 1

    def _let_go(self, name: str) -> None:
        with self._lock:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]


class Keeper:
    """Puts blobs; see `Blobs.keeping`."""

    def __init__(self, blobs: Blobs, stack: ExitStack) -> None:
        self._blobs = blobs
        self._stack = stack

    def put(self, data: bytes) -> Blob:
        """Keep these bytes. On return they are on the disk. Raises `StorageRefused`, `NoRoom`."""
        return self._blobs._put_bytes(data, self._hold)

    def put_chunks(self, chunks: Iterable[bytes]) -> Blob:
        """Keep what comes in pieces; nothing of it if the iteration raises."""
        return self._blobs._put(chunks, self._hold)

    def _hold(self, name: str) -> None:
        self._blobs._hold(name)
        self._stack.callback(self._blobs._let_go, name)


class Folder:
    """A folder of this machine. Its files lie in folders that are called as the first `digits` of their names."""

    def __init__(self, folder: Path, files: FileSystem = FILE_SYSTEM, digits: int = 2) -> None:
        self._folder = folder
        self._files = files
        self._digits = digits

    def start(self) -> None:
        """See `Storage`."""
        self._files.remove_tree(self._folder / INCOMING)
        self._files.make_folders(self._folder / INCOMING)
        # Once for all, so that keeping a picture costs two syncs and no more: of its bytes, and of its name.
        missing = [path for path in self._shards() if not path.is_dir()]
        for path in missing:
            self._files.make_folder(path)
        self._files.sync_folder(self._folder)

    def write(self, chunks: Iterable[bytes], name: Callable[[], str]) -> None:
        """See `Storage`."""
        incoming = self._folder / INCOMING / uuid4().hex
        try:
            self._files.write_file(incoming, chunks)
            path = self._path(name())
            self._files.rename(incoming, path)
        except BaseException:
            self._files.remove_tree(incoming)
            raise
        self._files.sync_folder(path.parent)

    def open(self, name: str) -> BinaryIO:
        """See `Storage`."""
        return self._path(name).open("rb")

    def holds(self, name: str) -> bool:
        """See `Storage`."""
        path = self._path(name)
        if not path.exists():
            return False
        self._files.sync_folder(path.parent)  # who gave it its name may not have come to that yet
        return True

    def delete(self, name: str) -> None:
        """See `Storage`."""
        self._files.remove_tree(self._path(name))

    def names(self) -> Iterator[str]:
        """See `Storage`."""
        for _folder, folders, files in os.walk(self._folder):
            if INCOMING in folders:
                folders.remove(INCOMING)
            yield from (file for file in files if NAME.fullmatch(file))

    def free_bytes(self) -> int | None:
        """See `Storage`."""
        return self._files.free_bytes(self._folder)

    def _shards(self) -> Iterator[Path]:
        return (self._folder / f"{number:0{self._digits}x}" for number in range(16**self._digits))

    def _path(self, name: str) -> Path:
        return self._folder / name[: self._digits] / name


def _checked(sha256: str) -> str:
    if NAME.fullmatch(sha256) is None:
        raise NotInLoop("No file has such a name")
    return sha256


@contextmanager
def _refusing(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(error, doing) from error
