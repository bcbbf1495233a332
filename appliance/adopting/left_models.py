"""The models that learning-loop-node has downloaded: `DATA/models/<version>/`."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from appliance.adopting.record import LeftModel
from models.bundle import MODEL_JSON, read_document
from models.errors import BundleError, DetectorApplianceError, NoRoom, StorageRefused
from models.store import ModelStore, StoredModel, version_key

log = logging.getLogger(__name__)

LINKS = ("current_model", "model")
"""To the model that served, the newer era's name first."""


def left_behind(models: Path, known: Collection[str]) -> list[Path]:
    """Folders of models of learning-loop-node, but those that are `known`; versions in the order of their numbers."""
    try:
        with os.scandir(models) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(
        (models / name for name in names if name not in known and _is_version(name) and _is_model(models / name)),
        key=lambda folder: version_key(folder.name),
    )


def adopt(folder: Path, store: ModelStore, formats: Sequence[str]) -> tuple[LeftModel, StoredModel | None]:
    """Take the model into the store, if it has one of these formats and is complete. Its weights take no room twice.

    Raises `StorageRefused` where the disk is in the way; it may be tried again then.
    """
    format = ""
    try:
        document = read_document(folder)
        format = str(document.get("format") or "")
        if format not in formats:
            raise BundleError(
                f"it has the format {format or '(none)'!r}, and this box runs {' and '.join(formats)}; the Loop's "
                "converter makes these of it"
            )
        version = None if document.get("version") else folder.name
        return LeftModel(folder=folder.name, format=format), store.put_folder(folder, version=version, shared=True)
    except StorageRefused as error:
        if isinstance(error, NoRoom) or isinstance(error.__cause__, OSError):
            raise
        return LeftModel(folder=folder.name, format=format, why_not=str(error)), None
    except DetectorApplianceError as error:
        return LeftModel(folder=folder.name, format=format, why_not=str(error)), None


def served(data: Path) -> str | None:
    """The version that learning-loop-node served last, as its link says."""
    for name in LINKS:
        try:
            return (data / name).readlink().name
        except OSError:
            continue
    return None


def _is_version(name: str) -> bool:
    try:
        return bool(version_key(name))
    except BundleError:
        return False


def _is_model(folder: Path) -> bool:
    """A model lies flat; an organization may be called 1.0, too, and holds folders only."""
    try:
        with os.scandir(folder) as entries:
            kinds = {entry.is_dir(follow_symlinks=False) for entry in entries if not entry.name.startswith(".")}
    except OSError:
        return False
    return kinds == {False} or (folder / MODEL_JSON).is_file()
