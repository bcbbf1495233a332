"""The models on this machine: immutable bundles, each complete or not there at all. Knows no Loop and no modes.

    ROOT/<organization>/<project>/<format>/<version>/   model.json and weights
    ROOT/.staging/                                      what is being put or removed; swept at start

A bundle is unpacked and checked in `.staging`, on the same disk, synced, and renamed to its place as the last step; it
is removed by the same way back. So a folder that lies in its place is complete, whenever the power failed. Bundles that
ship with the program are listed beside these and cannot be removed.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from models.bundle import MODEL_JSON, Bundle, Identity, complete, open_bundle, read_document
from models.bundle_zip import DEFAULT_LIMITS, ZipLimits, bundle_files, refused_name, unpack, unpacked_bytes
from models.errors import BundleError, InputTooLarge, NoRoom, StorageRefused, UnknownVersion
from models.files import FILE_SYSTEM, NO_SECOND_NAMES, FileSystem, refusal

_MIB = 1024 * 1024
_STAGING = ".staging"
_FORMAT = re.compile(r"[a-z0-9_-][a-z0-9_.-]{0,63}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}")


@dataclass(frozen=True)
class StoredModel:
    """One complete bundle on this machine. `size_bytes` is what its files have together."""

    organization: str
    project: str
    format: str
    version: str
    id: str
    folder: Path
    read_only: bool
    size_bytes: int

    @property
    def identity(self) -> Identity:
        """What this model is found by."""
        return Identity(self.organization, self.project, self.format, self.version)


# `ModelStore.list` hides the built-in from the annotations beside it.
_Models: TypeAlias = list[StoredModel]
_Broken: TypeAlias = list[tuple[Path, str]]


def version_key(text: str) -> tuple[int, ...]:
    """A version as numbers, for comparing: 1.10 is after 1.9. Pure. Raises `BundleError`."""
    if not _VERSION.fullmatch(text):
        raise BundleError(f"{text[:60]!r} is no model version; it should be numbers with dots between, like 1.10")
    return tuple(int(number) for number in text.split("."))


class ModelStore:
    """The bundles below `root`, and the `read_only` bundle folders beside them.

    Every method blocks (disk, hashing). Threads of one process may share a store; two processes must not put or remove
    at the same time. `free_space_floor` is how many bytes of the disk a model must leave free.
    """

    def __init__(
        self,
        root: Path,
        read_only: Sequence[Path] = (),
        *,
        file_system: FileSystem = FILE_SYSTEM,
        limits: ZipLimits = DEFAULT_LIMITS,
        free_space_floor: int = 200 * _MIB,
    ) -> None:
        self.root = root
        self._read_only = tuple(read_only)
        self._files = file_system
        self._limits = limits
        self._floor = free_space_floor
        self._staging = root / _STAGING
        self._at_work: set[Path] = set()  # entries of the staging folder that no sweep may touch
        self._lock = threading.Lock()  # guards `_at_work` and every change of what is listed
        self.changes = 0
        """How often a model came or went since the start: as long as it stays, so does `list` but for what others do."""

    def list(self, organization: str | None = None, project: str | None = None, format: str | None = None) -> _Models:
        """The complete models, of one organization, project and format where given; versions in order of their numbers.

        Reads every model.json but no weights.
        """
        models, _ = self._scan(organization, project, format)
        return models

    def broken(self) -> _Broken:
        """Folders that lie where a model should and are none, each with the reason as a sentence."""
        _, broken = self._scan(None, None, None)
        return broken

    def find(self, version: str, organization: str, project: str, format: str) -> StoredModel:
        """The model of that name. Raises `UnknownVersion`, which says what versions there are."""
        models = self.list(organization, project, format)
        for model in models:
            if model.version == version:
                return model
        there = ", ".join(model.version for model in models) or "none at all"
        raise UnknownVersion(
            f"this box has no version {version[:60]!r} of {organization}/{project} in format {format}; "
            f"there is: {there}"
        )

    def open(self, stored: StoredModel) -> Bundle:
        """Open a stored model, its hashes verified. Raises `UnknownVersion` (removed meanwhile) and `BundleError`."""
        if not stored.folder.is_dir():
            raise UnknownVersion(f"{_name(stored.identity)} is no longer on this box")
        return open_bundle(stored.folder)

    def put_zip(
        self,
        source: Path | BinaryIO,
        *,
        organization: str | None = None,
        project: str | None = None,
        format: str | None = None,
        version: str | None = None,
        id: str | None = None,
        check: Callable[[Bundle], None] | None = None,
    ) -> StoredModel:
        """Store the bundle in a zip, given as a path or as a stream that is read to its end.

        What is given of the identity wins over model.json, which is corrected; what is not given must stand there. `check`
        sees the bundle as it came, and raises what speaks against it. A version that is stored already with the same
        content is returned as it is; a damaged one is replaced.

        Raises `BundleError` (not a bundle, unsafe, or nameless), `InputTooLarge`, `StorageRefused` (this version exists
        with other content, or the disk refused), `NoRoom`. After any of them nothing of it is left.
        """
        with self._stage("store the model") as staging:
            if isinstance(source, Path):
                zip_path = source
            else:
                zip_path = staging / "received.zip"
                self._receive(source, zip_path)
            self._check_room(unpacked_bytes(zip_path, self._limits))
            unpack(zip_path, staging / "bundle", self._limits, self._files)
            return self._settle(staging, organization, project, format, version, id, check)

    def put_folder(
        self,
        source: Path,
        *,
        organization: str | None = None,
        project: str | None = None,
        format: str | None = None,
        version: str | None = None,
        shared: bool = False,
    ) -> StoredModel:
        """Store a copy of the bundle in a folder. As `put_zip` in all else.

        `shared`: nobody will ever write to the weights there, so they need not be copied, and take no room twice.
        """
        open_bundle(source, verify_hashes=False)  # says what is wrong before anything is copied
        files = bundle_files(source)
        with self._stage("store the model") as staging:
            size = sum(path.stat().st_size for path in files)
            if len(files) > self._limits.files or size > self._limits.total_bytes:
                raise InputTooLarge(
                    f"{source} holds {len(files)} files with {_megabytes(size)}; "
                    f"a model may have {self._limits.files} files with {_megabytes(self._limits.total_bytes)}"
                )
            if not shared:
                self._check_room(size)
            self._files.make_folder(staging / "bundle")
            for path in files:
                copy = staging / "bundle" / path.name
                if not shared or path.name == MODEL_JSON or not self._linked(path, copy):
                    self._files.write_file(copy, _chunks(path))
            self._files.sync_folder(staging / "bundle")
            return self._settle(staging, organization, project, format, version)

    def remove(self, stored: StoredModel) -> None:
        """Remove a model; it is unlisted first, in one step. Raises `StorageRefused` (ships with the program, or the
        disk refused) and `UnknownVersion` (not there).
        """
        name = _name(stored.identity)
        if stored.read_only:
            raise StorageRefused(f"{name} is part of this program and cannot be removed")
        place, dustbin = self._place(_checked(stored.identity)), self._staging / uuid.uuid4().hex
        with self._working_on(dustbin), _refusals(f"remove {name}"):
            self._files.make_folders(self._staging)
            with self._lock:
                try:
                    self._files.rename_durably(place, dustbin)
                    self.changes += 1
                except FileNotFoundError as error:
                    raise UnknownVersion(f"{name} is not on this box") from error
            self._files.remove_tree(dustbin)

    def sweep(self) -> int:
        """Remove what interrupted puts and removals left behind; returns how many there were. For the start."""
        with _refusals("remove leftovers of an earlier run"):
            try:
                entries = set(self._staging.iterdir())
            except FileNotFoundError:
                return 0
            with self._lock:
                entries -= self._at_work
            for entry in entries:
                self._files.remove_tree(entry)
            return len(entries)

    def _settle(
        self,
        staging: Path,
        organization: str | None,
        project: str | None,
        format: str | None,
        version: str | None,
        id: str | None = None,
        check: Callable[[Bundle], None] | None = None,
    ) -> StoredModel:
        """Check the staged bundle, give it its identity and, as the last step, its place."""
        folder = staging / "bundle"
        bundle = open_bundle(folder)
        if check is not None:
            check(bundle)
        said = bundle.identity
        who = _checked(
            Identity(
                organization or said.organization,
                project or said.project,
                format or said.format,
                version or said.version,
            )
        )
        if who != said or id not in (None, bundle.model.id):
            document = complete(read_document(folder), id=id, **who._asdict())
            self._files.write_atomically(
                folder / MODEL_JSON, json.dumps(document, indent=1, ensure_ascii=False).encode()
            )
            bundle = open_bundle(folder, verify_hashes=False)
        fingerprint = bundle.fingerprint
        place = self._place(who)
        with self._lock:
            for present, read_only in self._present(who):
                if present.fingerprint == fingerprint:
                    return _stored(present, read_only=read_only)
                raise StorageRefused(
                    f"{_name(who)} is stored already with other content, and a stored version never changes; "
                    "give the new one another version, or remove the stored one first"
                )
            if place.is_symlink() or place.exists():
                self._files.rename_durably(place, staging / "damaged")
            self._files.make_folders(place.parent)
            self._files.rename_durably(folder, place)
            self.changes += 1
        return _stored(Bundle(place, bundle.model), read_only=False)

    def _present(self, who: Identity) -> Iterator[tuple[Bundle, bool]]:
        """What is stored under that identity, all bytes being what they should be; and whether it is read-only."""
        place = self._place(who)
        mine = [] if place.is_symlink() else [(place, False)]
        for folder, read_only in [*((folder, True) for folder in self._read_only), *mine]:
            try:
                if open_bundle(folder, verify_hashes=False).identity != who:
                    continue
                bundle = open_bundle(folder)
            except BundleError:
                continue  # a damaged one does not stand in the way of a sound one; `broken` reports it
            yield bundle, read_only

    def _scan(self, organization: str | None, project: str | None, format: str | None) -> tuple[_Models, _Broken]:
        models: dict[Identity, StoredModel] = {}
        broken: _Broken = []
        with self._lock:
            for folder, who in [*((folder, None) for folder in self._read_only), *self._places(broken)]:
                if who is not None and not _is_wanted(who, organization, project, format):
                    continue
                try:
                    bundle = open_bundle(folder, verify_hashes=False)
                    if who is not None and bundle.identity != who:
                        raise BundleError(
                            f"the folder is the place of {_name(who)}, "
                            f"but its model.json says that it is {_name(bundle.identity)}"
                        )
                    _checked(bundle.identity)
                    stored = _stored(bundle, read_only=who is None)
                except BundleError as error:
                    broken.append((folder, str(error)))
                    continue
                if _is_wanted(stored.identity, organization, project, format):
                    models.setdefault(stored.identity, stored)
        return sorted(models.values(), key=lambda model: (*model.identity[:3], version_key(model.version))), broken

    def _places(self, broken: _Broken) -> Iterator[tuple[Path, Identity]]:
        """Every folder four levels down, with the identity that its path spells."""
        for organization in _folders(self.root, broken):
            for project in _folders(organization, broken):
                for format in _folders(project, broken):
                    for version in _folders(format, broken):
                        yield version, Identity(organization.name, project.name, format.name, version.name)

    def _place(self, who: Identity) -> Path:
        return self.root / who.organization / who.project / who.format / who.version

    @contextmanager
    def _stage(self, doing: str) -> Iterator[Path]:
        """A new folder in `.staging` for the time of the block. OSErrors in the block become `StorageRefused`."""
        folder = self._staging / uuid.uuid4().hex
        with self._working_on(folder), _refusals(doing):
            self._files.make_folders(self._staging)
            self._files.make_folder(folder)
            try:
                yield folder
            finally:
                with suppress(OSError):  # the next sweep takes what could not be removed now
                    self._files.remove_tree(folder)

    @contextmanager
    def _working_on(self, entry: Path) -> Iterator[None]:
        with self._lock:
            self._at_work.add(entry)
        try:
            yield
        finally:
            with self._lock:
                self._at_work.discard(entry)

    def _linked(self, source: Path, target: Path) -> bool:
        """Give a file a second name; False where that cannot be, and there is room for a copy."""
        try:
            self._files.link(source, target)
        except OSError as error:
            if error.errno not in NO_SECOND_NAMES:
                raise
            self._check_room(source.stat().st_size)
            return False
        return True

    def _receive(self, stream: BinaryIO, path: Path) -> None:
        received = 0
        with self._files.create_exclusive(path) as file:
            while chunk := stream.read(_MIB):
                received += len(chunk)
                if received > self._limits.zip_bytes:
                    raise InputTooLarge(
                        f"the zip is larger than {_megabytes(self._limits.zip_bytes)}, the most that is taken"
                    )
                self._check_room(len(chunk))
                file.write(chunk)

    def _check_room(self, size: int) -> None:
        free = self._files.free_bytes(self._staging)
        if free - size < self._floor:
            raise NoRoom(
                f"the model needs {_megabytes(size)} and {_megabytes(self._floor)} must stay free, "
                f"but the disk has only {_megabytes(free)} left; remove models or pictures that are not needed"
            )


def _checked(who: Identity) -> Identity:
    """`who`, if all its parts are there and can be names of folders. Raises `BundleError`."""
    for key, text in who._asdict().items():
        if not text:
            raise BundleError(f"model.json does not say '{key}', and it was not given either; a stored model needs it")
    for key, text in (("organization", who.organization), ("project", who.project)):
        reason = refused_name(text)
        if not reason and (text.startswith(".") or text != text.strip()):
            reason = "names must not begin with a dot or have spaces at their ends"
        if reason:
            raise BundleError(f"{text[:60]!r} cannot be the name of {key}: {reason}")
    if not _FORMAT.fullmatch(who.format):
        raise BundleError(
            f"{who.format[:60]!r} is no name of a format; it should match [a-z0-9_.-]+ and not begin with a dot"
        )
    version_key(who.version)
    return who


def _stored(bundle: Bundle, *, read_only: bool) -> StoredModel:
    try:
        size = sum(path.lstat().st_size for path in bundle.folder.iterdir())
    except OSError as error:
        raise BundleError(f"the folder cannot be read: {error.strerror}") from error
    return StoredModel(
        **bundle.identity._asdict(), id=bundle.model_id, folder=bundle.folder, read_only=read_only, size_bytes=size
    )


def _folders(folder: Path, broken: _Broken) -> Iterable[Path]:
    """The sub-folders, sorted; hidden ones, links and files are none of ours (other programs keep some here)."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if not path.name.startswith(".") and path.is_dir() and not path.is_symlink()
        )
    except FileNotFoundError:
        return []
    except OSError as error:
        broken.append((folder, f"the folder cannot be read: {error.strerror}"))
        return []


def _is_wanted(who: Identity, organization: str | None, project: str | None, format: str | None) -> bool:
    return all(
        wanted is None or part == wanted
        for part, wanted in ((who.organization, organization), (who.project, project), (who.format, format))
    )


def _name(who: Identity) -> str:
    return (
        f"version {who.version or '?'} of {who.organization or '?'}/{who.project or '?'} in format {who.format or '?'}"
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_MIB):
            yield chunk


@contextmanager
def _refusals(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(error, doing) from error


def _megabytes(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"
