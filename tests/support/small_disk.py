"""A disk that is full when a test says so: a real small one where this machine lets one be made, else one that acts it."""

from __future__ import annotations

import errno
import io
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from models.files import FileSystem

MEBIBYTE = 1 << 20


class SmallDisk(Protocol):
    """A folder on a disk of its own, and the file system to write to it with."""

    folder: Path

    @property
    def files(self) -> FileSystem: ...

    def fill(self) -> None:
        """Leave not one byte free."""

    def free(self) -> None:
        """Give the room back."""


class Tmpfs:
    """A file system in memory, which the kernel keeps to its size."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        self.files = FileSystem()
        self._ballast = folder / "ballast"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)], check=True, capture_output=True
        )

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            for chunk in (MEBIBYTE, 4096, 1):
                try:
                    while file.write(bytes(chunk)) == chunk:
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self) -> None:
        self._ballast.unlink()

    def unmount(self) -> None:
        """Give the disk back to the machine, whoever still has files open on it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)


class ActedDisk(FileSystem):
    """The disk of the tests, which takes no byte while it is full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._full = False

    @property
    def files(self) -> FileSystem:
        return self

    def fill(self) -> None:
        self._full = True

    def free(self) -> None:
        self._full = False

    def free_bytes(self, folder: Path) -> int:
        return 0 if self._full else super().free_bytes(folder)

    def make_folder(self, folder: Path) -> None:
        if self._full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().make_folder(folder)

    def create_exclusive(self, path: Path) -> BinaryIO:
        super().create_exclusive(path).close()
        return _ActedFile(self, path)

    @property
    def full(self) -> bool:
        """Whether it takes nothing."""
        return self._full


class _ActedFile(io.FileIO):
    def __init__(self, disk: ActedDisk, path: Path) -> None:
        super().__init__(path, "ab")
        self._disk = disk

    def write(self, data: bytes) -> int:  # type: ignore[override]  # narrower than any buffer: all that products write
        if self._disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@contextmanager
def small_disk(folder: Path, kind: str, mebibytes: int = 64) -> Iterator[SmallDisk | None]:
    """A disk in `folder`, of the kind `tmpfs` or `acted`; None where this machine lets nobody mount a tmpfs."""
    if kind == "acted":
        yield ActedDisk(folder)
        return
    try:
        disk = Tmpfs(folder, mebibytes)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield disk
    finally:
        disk.unmount()
