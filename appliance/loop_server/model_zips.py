"""A model as it is uploaded, and the flat zip that is made of it for every format.

What comes is a zip, or the files of a model one by one, with or without a `model.json`. What is kept is a zip whose
`model.json` says whose model this is and which: whatever the uploaded one said of that is corrected, and all it says
beyond survives. Everything here blocks.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.bundle import MODEL_JSON, complete, pack, read_document, unpack
from models.bundle_zip import DEFAULT_LIMITS, ZipLimits, refused_name
from models.errors import BundleError, InputTooLarge
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.wire.model_information import Category

_CHUNK = 1024 * 1024
_MIB = 1024 * 1024


@dataclass(frozen=True)
class ReceivedFile:
    """A file as it came: under what name, and where it lies now."""

    name: str
    path: Path


@dataclass(frozen=True)
class StoredZip:
    """A zip that was written. `sha256` is hex, `size` bytes."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Belonging:
    """Whose model this is, and which: what a Loop writes into every `model.json` that it hands out."""

    id: str
    host: str
    organization: str
    project: str
    version: str
    format: str


class _Described(BaseModel):
    """What nodes read of a `model.json` beside whose it is: their types, for a wrong one makes them drop the model."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    categories: list[Category] = Field(default_factory=list, max_length=10_000)
    resolution: int | None = Field(default=None, gt=0)
    model_size: str | None = None
    conf_threshold: float | None = Field(default=None, ge=0.0, le=1.0)


def unpack_upload(
    files: Sequence[ReceivedFile],
    folder: Path,
    limits: ZipLimits = DEFAULT_LIMITS,
    file_system: FileSystem = FILE_SYSTEM,
) -> None:
    """Lay what came into the new folder `folder`, flat: what is in the one zip, or the files as they are.

    The files are moved, not copied: they must lie on the same disk. A zip is a file named `.zip` that comes alone; weights
    of some formats are zips inside, too, and stay what they are.
    Raises `BundleError` for names or a zip that cannot be a model, `InputTooLarge` for one beyond the limits,
    `StorageRefused` and `NoRoom` for the disk.
    """
    if not files:
        raise BundleError("No file came: send a zip, or model.json and the weight files")
    if len(files) == 1 and files[0].name.lower().endswith(".zip"):
        unpack(files[0].path, folder, limits, file_system)
        return
    check_names([file.name for file in files], limits)
    try:
        if sum(file.path.stat().st_size for file in files) > limits.total_bytes:
            raise InputTooLarge(f"The files of a model may have {limits.total_bytes // _MIB} MiB together")
        file_system.make_folder(folder)
        for file in files:
            file_system.rename(file.path, folder / file.name)
    except OSError as error:
        raise refusal(error, "store the model") from error


def check_names(names: Iterable[str], limits: ZipLimits = DEFAULT_LIMITS) -> None:
    """Raises `BundleError` where these cannot be the files of one model, `InputTooLarge` where they are too many."""
    seen: set[str] = set()
    for name in names:
        if reason := refused_name(name):
            raise BundleError(f"A file is named {name[:100]!r}: {reason}")
        if name.startswith("."):
            raise BundleError(f"A file is named {name[:100]!r}: names of a model's files must not begin with a dot")
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise BundleError(f"The file {name[:100]!r} comes twice; names must differ in more than their case")
        seen.add(key)
    if len(seen) > limits.files:
        raise InputTooLarge(f"{len(seen)} files came; a model may have {limits.files}")


def document_of(folder: Path, otherwise: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `model.json` in `folder` says, checked; where there is none, `otherwise`, and None means that one must be.

    Raises `BundleError`, which names the key that is wrong.
    """
    described_elsewhere = otherwise is not None and not (folder / MODEL_JSON).exists()
    document = dict(otherwise or {}) if described_elsewhere else read_document(folder)
    found = document.get("categories") or []
    if isinstance(found, list):
        # Trainers write null for what they do not know of a category.
        found = [{k: v for k, v in each.items() if v is not None} if isinstance(each, dict) else each for each in found]
    try:
        described = _Described.model_validate({**document, "categories": found})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"In model.json, {key!r} cannot be understood: {first['msg']}") from error
    # In the types that were understood: 320.0 is 320 from here on, for nodes that check types strictly.
    corrected = described.model_dump(mode="json", exclude_unset=True, exclude={"categories"})
    return {**document, **corrected, "categories": found}


def properties_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a `model.json` says that holds in every format of the model."""
    return {key: document[key] for key in _Described.model_fields if document.get(key) is not None}


def write_zip(
    folder: Path,
    document: Mapping[str, Any],
    belonging: Belonging,
    target: Path,
    file_system: FileSystem = FILE_SYSTEM,
) -> StoredZip:
    """Complete `model.json` in `folder` and pack it to `target`; may be called again with another version.

    Raises `StorageRefused` and `NoRoom`.
    """
    whole = complete(document, **vars(belonging))
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    try:
        file_system.write_atomically(folder / MODEL_JSON, text.encode())
    except OSError as error:
        raise refusal(error, "store model.json") from error
    pack(folder, target, file_system)
    digest = hashlib.sha256()
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return StoredZip(target, target.stat().st_size, digest.hexdigest())
