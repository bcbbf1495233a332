"""Writing to disk so that a power cut leaves either the old or the new: the one seam between this program and its disk.

A write is safe only after three things: the bytes are synced, they have their final name, and the folder that holds the
name is synced too. Everything that must survive a power cut goes through a `FileSystem`, so that tests can pass one
that loses power at any step and keeps only what was synced. Reading needs no seam. All methods block and raise OSError;
`refusal` turns that into a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from models.errors import NoRoom, StorageRefused

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

NO_SECOND_NAMES = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""What `FileSystem.link` raises where the disk knows no second names, or lets nobody give one to this file: copy it."""


class FileSystem:
    """The disk. The first group of methods are its single steps; the second group is made of them alone."""

    def create_exclusive(self, path: Path) -> BinaryIO:
        """Open a new file for writing. FileExistsError if the name is taken, be it by a link that leads nowhere."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o644), "wb")

    def reopen(self, path: Path, size: int) -> BinaryIO:
        """Open a file to write on after its first `size` bytes; what is behind them is gone. Follows no link."""
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, size, os.SEEK_SET)
        except OSError:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "wb")

    def sync_file(self, file: BinaryIO) -> None:
        """Return when the bytes written so far are on the disk. Says nothing about the file's name."""
        file.flush()
        os.fsync(file.fileno())

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in `folder` are on the disk. Says nothing about the files' bytes."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems (FAT, network shares) know no sync of folders; they cannot promise more than they do.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def sync_everything(self) -> None:
        """Return when all that anybody wrote is on the disk, bytes and names: one wait instead of one for each folder."""
        os.sync()

    def make_folder(self, folder: Path) -> None:
        """Make one folder in an existing one. FileExistsError if the name is taken."""
        folder.mkdir()

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name on the same disk, at once; a file of that name is replaced."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name on the same disk. No byte is copied, and the file lives until its last name is gone.

        FileExistsError if the name is taken; other errors where the disk knows no second names.
        """
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a file or a link."""
        path.unlink()

    def remove_folder(self, folder: Path) -> None:
        """Remove an empty folder."""
        folder.rmdir()

    def free_bytes(self, folder: Path) -> int:
        """Bytes that may still be written to the disk of `folder`."""
        return shutil.disk_usage(folder).free

    def write_file(self, path: Path, chunks: Iterable[bytes]) -> int:
        """Write a new file and sync its bytes; returns their number. The name is safe after `sync_folder`.

        FileExistsError if the name is taken. A file that could not be written to its end is left for the caller, who
        knows whether the whole folder goes.
        """
        written = 0
        with self.create_exclusive(path) as file:
            for chunk in chunks:
                file.write(chunk)
                written += len(chunk)
            self.sync_file(file)
        return written

    def write_atomically(self, path: Path, data: bytes) -> None:
        """Write or replace a file: whoever reads it, after a power cut too, finds all of the old or all of the new.

        The temporary file is always `.NAME.new`, so that a power cut leaves at most one behind, which the next write
        replaces. One writer at a time per path.
        """
        temporary = path.with_name(f".{path.name}.new")
        self.remove_tree(temporary)
        try:
            self.write_file(temporary, [data])
            self.rename(temporary, path)
        except OSError:
            self.remove_tree(temporary)
            raise
        self.sync_folder(path.parent)

    def rename_durably(self, source: Path, target: Path) -> None:
        """Rename, and return when the new name is on the disk and the old one is gone from it."""
        self.rename(source, target)
        self.sync_folder(target.parent)
        if source.parent != target.parent:
            self.sync_folder(source.parent)

    def make_folders(self, folder: Path) -> None:
        """Make `folder` and those above it, as far as they are missing; all are on the disk on return."""
        if folder.is_dir():
            # It may have been made by a process that was killed before it could sync the name.
            with contextlib.suppress(PermissionError):  # a parent that is not ours to open is not ours to sync
                self.sync_folder(folder.parent)
            return
        self.make_folders(folder.parent)
        try:
            self.make_folder(folder)
        except FileExistsError:
            if not folder.is_dir():
                raise
        self.sync_folder(folder.parent)

    def remove_tree(self, path: Path) -> None:
        """Remove a file, a link, or a folder with all that is in it; no error if there is none. Follows no links."""
        try:
            is_folder = path.is_dir() and not path.is_symlink()
            if not is_folder:
                self.unlink(path)
                return
            for child in list(path.iterdir()):
                self.remove_tree(child)
            self.remove_folder(path)
        except FileNotFoundError:
            return  # gone already: somebody else removed it meanwhile


FILE_SYSTEM = FileSystem()
"""The real disk, where nobody passes another."""


def refusal(error: OSError, doing: str) -> StorageRefused:
    """What to raise from an OSError: `NoRoom` for a full disk, else `StorageRefused`. `doing`: "store the model"."""
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return NoRoom(f"could not {doing}: the disk is full ({reason}); make room and try again")
    return StorageRefused(f"could not {doing}: the disk refused it ({reason})")
