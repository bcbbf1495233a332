"""A bundle as it travels: a flat zip. Packing is deterministic; unpacking trusts nothing that a zip says of itself.

Whoever sends a zip decides every byte of it: names, sizes, checksums, how long the list of files is. So names are held
against a rule before anything is written, what is extracted is counted as it comes out, and the list of files is never
read into memory before its size is known to be small.
"""

from __future__ import annotations

import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import BundleError, InputTooLarge
from models.files import FILE_SYSTEM, FileSystem, refusal

_MIB = 1024 * 1024
_CHUNK = 64 * 1024  # bytes; no more than `_BoundedReader` reads at once

_LOCAL_HEADER = 30  # bytes before the name of an entry: APPNOTE.TXT 4.3.7
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: encrypted, strong encryption, masked headers: APPNOTE.TXT 4.4.4
_DOS_FOLDER = 0x10
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold

_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a version or method that zipfile does not know
    RuntimeError,  # encrypted
    ValueError,  # seeking before the start, names that are no UTF-8
)


@dataclass(frozen=True)
class ZipLimits:
    """What a zip may be, at most. Sizes are bytes.

    `expansion` is how many times larger than the zip its files may be together, once they are larger than
    `expansion_from`: weights hardly shrink when packed, bombs expand a thousandfold.
    """

    zip_bytes: int = 2048 * _MIB
    total_bytes: int = 4096 * _MIB
    files: int = 64
    expansion: int = 50
    expansion_from: int = 16 * _MIB

    @property
    def list_bytes(self) -> int:
        """How long the zip's own list of files may be: enough for every file to have a long name and a comment."""
        return max(128 * 1024, 1024 * self.files)  # never less than zipfile reads in its search for the end record


DEFAULT_LIMITS = ZipLimits()


def refused_name(name: str) -> str | None:
    """Why `name` cannot be the name of a file; None if it can. Pure."""
    if not name or name in {".", ".."}:
        return "it names no file"
    if "/" in name or "\\" in name:
        return "names must hold no path separators"
    if ":" in name:
        return "names must hold no colon and no drive letter"
    if not name.isprintable():
        return "names must hold no control characters"
    if len(name.encode()) > 200:
        return "names may be 200 bytes long at most"
    return None


def bundle_files(folder: Path) -> list[Path]:
    """The files of a bundle's folder, sorted by name; names that start with a dot are left out.

    Raises `BundleError` where there is anything else in it: a sub-folder, a link, a name that cannot travel.
    """
    files = []
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                raise BundleError(
                    f"{folder} holds {path.name!r}, which is no regular file; a bundle is a flat folder of files"
                )
            if reason := refused_name(path.name):
                raise BundleError(f"{folder} holds a file named {path.name!r}: {reason}")
            files.append(path)
    except OSError as error:
        raise BundleError(f"{folder} cannot be read as a model folder: {error.strerror}") from error
    return files


def pack(folder: Path, target_zip: Path, file_system: FileSystem = FILE_SYSTEM) -> None:
    """Write the bundle in `folder` to `target_zip`: flat, stored, sorted, undated. Blocks.

    The same files give the same bytes on every machine; that is why nothing is compressed (zlib's output differs
    between its builds, and weights hardly shrink). The zip appears under its name when it is complete, replacing an
    older one.
    Raises `BundleError` (no model.json, or something that cannot travel) and `StorageRefused`, `NoRoom`.
    """
    files = [path for path in bundle_files(folder) if path != target_zip]
    if not any(path.name == "model.json" for path in files):
        raise BundleError(f"{folder} has no model.json; a bundle consists of model.json and its weight files")
    temporary = target_zip.with_name(f".{target_zip.name}.new")
    try:
        file_system.remove_tree(temporary)
        with file_system.create_exclusive(temporary) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for path in files:
                    _pack_file(archive, path)
            file_system.sync_file(file)
        file_system.rename_durably(temporary, target_zip)
    except OSError as error:
        file_system.remove_tree(temporary)
        raise refusal(error, f"write {target_zip.name}") from error


def _pack_file(archive: zipfile.ZipFile, path: Path) -> None:
    entry = zipfile.ZipInfo(path.name, _EPOCH)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)


def unpacked_bytes(zip_path: Path, limits: ZipLimits = DEFAULT_LIMITS) -> int:
    """Bytes that the files of a zip need on disk, by its own account; extracting never writes more. Blocks.

    Raises `BundleError` and `InputTooLarge` for whatever `unpack` would refuse before it writes.
    """
    with _opened(zip_path, limits) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def unpack(
    zip_path: Path, folder: Path, limits: ZipLimits = DEFAULT_LIMITS, file_system: FileSystem = FILE_SYSTEM
) -> None:
    """Extract a zip into the new folder `folder`, whose parent exists; each file and `folder` are synced. Blocks.

    Nothing is written outside `folder`, and it is gone again if anything fails. Links, devices, sub-folders, encrypted
    files, names used twice (in any case), files that overlap in the zip, and sizes or checksums that are not true are
    refused. Raises `BundleError` for a zip that is broken or unsafe, `InputTooLarge` for one beyond the limits,
    `StorageRefused` and `NoRoom` for the disk.
    """
    with _opened(zip_path, limits) as archive:
        try:
            file_system.make_folder(folder)
        except OSError as error:
            raise refusal(error, f"unpack {zip_path.name}") from error
        try:
            budget = _Budget(limits, zip_path.stat().st_size)
            for entry in archive.infolist():
                file_system.write_file(folder / entry.filename, _contents(archive, entry, budget))
            file_system.sync_folder(folder)
        except OSError as error:
            file_system.remove_tree(folder)
            raise refusal(error, f"unpack {zip_path.name}") from error
        except BaseException:
            file_system.remove_tree(folder)
            raise


class _Budget:
    """Counts what comes out of a zip, over all its files."""

    def __init__(self, limits: ZipLimits, zip_bytes: int) -> None:
        self._limits, self._zip_bytes = limits, zip_bytes
        self._bytes = 0

    def take(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limits.total_bytes:
            raise InputTooLarge(
                f"the zip unpacks to more than {_megabytes(self._limits.total_bytes)}, the most that a model may be"
            )
        if self._bytes > max(self._limits.expansion_from, self._limits.expansion * self._zip_bytes):
            raise InputTooLarge(
                f"the zip unpacks to more than {self._limits.expansion} times its size; that is a zip bomb, not a model"
            )


class _BoundedReader(io.BufferedReader):
    """Refuses to read much at once.

    zipfile reads the whole list of files in one call, as long as the zip says it is, before anybody can look at its
    length. A bound on every read holds for whatever zipfile takes the list to be, where a look at the zip's end record
    would have to find the same record that zipfile finds.
    """

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and 0 <= size <= self._most:
            return super().read(size)
        data = super().read(self._most + 1)
        if len(data) > self._most:
            raise InputTooLarge(
                f"the zip's list of files alone is longer than {self._most} bytes; a model has few files"
            )
        return data


@contextmanager
def _opened(zip_path: Path, limits: ZipLimits) -> Iterator[zipfile.ZipFile]:
    """The zip, its list of files checked."""
    try:
        size = zip_path.stat().st_size
        if size > limits.zip_bytes:
            raise InputTooLarge(f"the zip has {_megabytes(size)}; at most {_megabytes(limits.zip_bytes)} are taken")
        reader = _BoundedReader(zip_path, limits.list_bytes)
    except OSError as error:
        raise BundleError(f"{zip_path.name} cannot be read: {error.strerror}") from error
    with reader:
        with _reading("the list of files"):
            archive = zipfile.ZipFile(reader)
        with archive:
            _check_list(archive, limits)
            yield archive


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turns what zipfile raises into `BundleError`."""
    try:
        yield
    except _BROKEN_ZIP as error:
        raise BundleError(f"this is no zip, or a damaged or truncated one: {what} cannot be read ({error})") from error


def _check_list(archive: zipfile.ZipFile, limits: ZipLimits) -> None:
    entries = archive.infolist()
    if len(entries) > limits.files:
        raise InputTooLarge(f"the zip holds {len(entries)} files; a model may have {limits.files}")
    names: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        name = unicodedata.normalize("NFC", entry.filename).casefold()
        if name in names:
            raise BundleError(f"the zip holds {entry.filename!r} twice; names must differ in more than their case")
        names.add(name)
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise BundleError(f"{entry.filename!r} overlaps another file of the zip; that is a zip bomb, not a model")
        end = entry.header_offset + _LOCAL_HEADER + len(entry.filename) + entry.compress_size


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # `orig_filename` is the name as it stands in the zip: zipfile cuts `filename` at the first NUL.
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.endswith("/") or kind == stat.S_IFDIR or entry.external_attr & _DOS_FOLDER:
        raise BundleError(f"the zip holds the folder {name!r}; a model's files must lie at the top level of the zip")
    if reason := refused_name(name):
        raise BundleError(f"the zip holds a file named {name!r}: {reason}")
    if kind not in (0, stat.S_IFREG):
        raise BundleError(f"{name!r} in the zip is a link or a device; a model consists of regular files")
    if entry.flag_bits & _ENCRYPTED:
        raise BundleError(f"{name!r} in the zip is encrypted; models are taken unencrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError(f"{name!r} in the zip is packed by method {entry.compress_type}; pack it stored or deflated")


def _contents(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: _Budget) -> Iterator[bytes]:
    """The bytes of one file, counted. zipfile checks the checksum, and stops at the size it was told."""
    taken = 0
    with _reading(repr(entry.filename)), archive.open(entry) as source:
        while chunk := source.read(_CHUNK):
            taken += len(chunk)
            budget.take(len(chunk))
            yield chunk
    if taken != entry.file_size:
        raise BundleError(f"{entry.filename!r} in the zip is cut short: {taken} bytes of {entry.file_size}")


def _megabytes(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"
