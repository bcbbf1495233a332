"""What was measured of the ways to run a model, kept on disk for the next start."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models.fastest import Measured, ranked
from models.files import FileSystem
from models.runtimes.base import Choice

log = logging.getLogger(__name__)

MOST = 100
"""Entries; the oldest is forgotten first."""


@dataclass(frozen=True)
class Conditions:
    """What measured times depend on: bundle (its fingerprint), machine, the setting `runtime`, versions of the libraries,
    and which accelerators (`runtime/accelerator`) are there."""

    bundle: str
    machine: str
    wanted: str
    versions: tuple[str, ...]
    accelerators: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    conditions: Conditions
    measured: tuple[Measured, ...]


_ENTRIES = TypeAdapter(tuple[_Entry, ...])


class Memory:
    """A JSON file. Every method blocks. A file that cannot be read is as good as none: things are measured again."""

    def __init__(self, path: Path, files: FileSystem) -> None:
        self._path = path
        self._files = files

    def recall(self, conditions: Conditions) -> list[Measured] | None:
        """What was measured under the same conditions."""
        for entry in self._read():
            if entry.conditions == conditions:
                return list(entry.measured)
        return None

    def lost(self, conditions: Conditions) -> Choice | None:
        """The fastest way when the box last had more accelerators, if it needs one of those that are gone."""
        for entry in reversed(self._read()):
            then = entry.conditions
            same = (then.bundle, then.machine, then.wanted) == (
                conditions.bundle,
                conditions.machine,
                conditions.wanted,
            )
            best = ranked(entry.measured)
            if not same or not best or not {*then.accelerators} > {*conditions.accelerators}:
                continue
            fastest = best[0].choice
            needs = f"{fastest.runtime}/{fastest.accelerator}"
            return fastest if needs in then.accelerators and needs not in conditions.accelerators else None
        return None

    def remember(self, conditions: Conditions, measured: Sequence[Measured]) -> None:
        """Keep it, if the disk lets us: without it the next start only takes a little longer."""
        others = [entry for entry in self._read() if entry.conditions != conditions]
        entries = [*others, _Entry(conditions, tuple(measured))][-MOST:]
        document: list[dict[str, Any]] = [asdict(entry) for entry in entries]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._files.write_atomically(self._path, json.dumps(document, indent=1).encode())
        except OSError as error:
            log.warning("what was measured cannot be kept: %s", error)

    def _read(self) -> tuple[_Entry, ...]:
        try:
            return _ENTRIES.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            log.warning("what was measured before cannot be read and is measured again: %s", error)
            return ()
