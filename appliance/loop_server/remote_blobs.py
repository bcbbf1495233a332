"""Blobs in any storage that fsspec knows: `s3://bucket/folder`, `gs://…`, `sftp://…`, `memory://…`.

A blob gets its name when all of it is there (fsspec's commit; object stores do nothing else), and its size is looked at
afterwards. Credentials are the driver's business: it finds them where its other programs do.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from appliance.loop_server.blobs import NAME, Folder, Storage
from models.errors import SettingsInvalid
from models.files import FILE_SYSTEM, FileSystem

_CHUNK = 1024 * 1024
_TURNS = 64  # blobs with different names wait for each other that rarely


def storage_at(url: str, spool: Path, files: FileSystem = FILE_SYSTEM) -> Storage:
    """The storage that a URL names; `file://…` and plain paths are folders. Raises `SettingsInvalid`.

    `spool` is a folder of this machine for what is on its way.
    """
    parts = urlsplit(url)
    if parts.scheme in {"", "file"}:
        folder = Path(url2pathname(parts.path))
        if not folder.is_absolute():
            raise SettingsInvalid(f"The folder of --blobs-url has to be named from the root on, unlike {url!r}")
        return Folder(folder, files)
    return Remote(url, spool)


class Remote:
    """A folder of a storage that fsspec knows. Raises `SettingsInvalid` where its driver is missing."""

    def __init__(self, url: str, spool: Path) -> None:
        self._spool = spool
        try:
            from fsspec.core import url_to_fs

            # Others write there, too: what was listed a while ago says nothing.
            found = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise SettingsInvalid(
                f"{url!r} needs a driver that is not installed ({error}): detector-appliance[fleet], and fsspec's own for "
                "this storage"
            ) from error
        except ValueError as error:
            raise SettingsInvalid(f"{url!r} is no storage that fsspec knows: {error}") from error
        self._turns = [threading.Lock() for _ in range(_TURNS)]
        self._system: Any = found[0]
        self._root: str = found[1].rstrip("/")

    def start(self) -> None:
        """See `Storage`."""
        self._spool.mkdir(parents=True, exist_ok=True)
        self._system.makedirs(self._root, exist_ok=True)

    def write(self, chunks: Iterable[bytes], name: Callable[[], str]) -> None:
        """See `Storage`."""
        with TemporaryFile(dir=self._spool) as spooled:
            for chunk in chunks:
                spooled.write(chunk)
            size = spooled.tell()
            spooled.seek(0)
            name_of_it = name()
            with self._turn(name_of_it):
                self._store(spooled, size, self._path(name_of_it))

    def _store(self, spooled: IO[bytes], size: int, path: str) -> None:
        self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
        target = self._system.open(path, "wb", autocommit=False)
        try:
            shutil.copyfileobj(spooled, target, _CHUNK)
            target.close()
            target.commit()
        except BaseException:
            target.discard()
            raise
        stored = self._system.info(path)["size"]
        if stored != size:
            self._system.rm_file(path)
            raise OSError(f"{size} bytes were written, {stored} are there")

    def _turn(self, name: str) -> threading.Lock:
        """Whoever writes or deletes holds it: some storages show a file as soon as it is begun, empty."""
        return self._turns[hash(name) % len(self._turns)]

    def open(self, name: str) -> BinaryIO:
        """See `Storage`."""
        return cast("BinaryIO", self._system.open(self._path(name), "rb"))

    def holds(self, name: str) -> bool:
        """See `Storage`."""
        return bool(self._system.exists(self._path(name)))

    def delete(self, name: str) -> None:
        """See `Storage`."""
        with self._turn(name), contextlib.suppress(FileNotFoundError):  # gone already
            self._system.rm_file(self._path(name))

    def names(self) -> Iterator[str]:
        """See `Storage`."""
        for path in self._system.find(self._root):
            name = path.rpartition("/")[2]
            if NAME.fullmatch(name):
                yield name

    def free_bytes(self) -> int | None:
        """See `Storage`."""
        return None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"
