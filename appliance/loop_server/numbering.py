"""Which version a new model gets, whether an upload makes a new model at all, and what a format may be called. Pure.

A model that somebody brings starts the next major version. What a training finds continues the major version that it
started from: its first model is the next minor one. A training whose best model has not changed since its last upload
adds a format to that model; one that has found a better one makes a new model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import BundleError, InvalidInput
from models.store import version_key

FIRST = "1.0"
"""Version of the first model of a project."""

ROUTE_WORDS = frozenset(
    {
        "annotations",
        "categories",
        "data",
        "deployment",
        "detections",
        "detectors",
        "export",
        "generator",
        "images",
        "import",
        "models",
        "nodes",
        "status",
        "trainers",
        "trainings",
    }
)
"""What stands in routes where a format could stand; none of these can name one."""

_FORMAT = re.compile(r"(?!\.+\Z)[a-z0-9_.-]{1,64}")


def checked_format(name: str) -> str:
    """The name of a format, once it is known to be one. Raises `InvalidInput`."""
    if not _FORMAT.fullmatch(name):
        raise InvalidInput(
            f"{name[:60]!r} is no name of a format; it should be small letters, digits, '_', '-' and '.', like litert"
        )
    if name in ROUTE_WORDS:
        raise InvalidInput(f"A format cannot be called {name!r}, which is a word of this API; name it like litert")
    return name


def next_major(versions: Iterable[str | None]) -> str:
    """Version of a model that somebody uploads, given those that were ever used in the project."""
    majors = [major for major, _ in _numbers(versions)]
    return f"{max(majors) + 1}.0" if majors else FIRST


def next_minor(versions: Iterable[str | None], base: str | None = None) -> str:
    """Version of a model that a training found, which began from the version `base` (None: from none of the project)."""
    used = _numbers(versions)
    begun = _numbers([base])
    if not used and not begun:
        return FIRST
    major = begun[0][0] if begun else max(used)[0]
    return f"{major}.{max(number for number in [*used, *begun] if number[0] == major)[1] + 1}"


def _numbers(versions: Iterable[str | None]) -> list[tuple[int, int]]:
    """Major and minor number of each version; what is no version does not count, nor what is not published."""
    found = []
    for version in versions:
        try:
            numbers = version_key(version or "")
        except BundleError:
            continue
        found.append((numbers[0], numbers[1] if len(numbers) > 1 else 0))
    return found


def best_of(training: Mapping[str, Any]) -> str:
    """What tells one best model of a training from the next, out of what the trainer says of it.

    Trainers say the same again when they are not sure that it was heard, so time and order of messages tell nothing.
    """
    told = [training.get("best_epoch"), training.get("confusion_matrix")]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TrainedModel:
    """The last model that a training has uploaded: `best` as it was then, and the formats that are stored of it."""

    id: str
    best: str
    formats: frozenset[str]


@dataclass(frozen=True)
class NewModel:
    """The upload makes a new model."""


@dataclass(frozen=True)
class FurtherFormat:
    """The upload adds a format to the model `id`."""

    id: str


@dataclass(frozen=True)
class AlreadyStored:
    """The model `id` has this format already."""

    id: str


def upload_of_training(last: TrainedModel | None, best: str, format: str) -> NewModel | FurtherFormat | AlreadyStored:
    """What an upload in `format` is, from a training whose best model is `best` now and which uploaded `last` before."""
    if last is None or last.best != best:
        return NewModel()
    return AlreadyStored(last.id) if format in last.formats else FurtherFormat(last.id)
