"""What the node remembers: conversions that failed or are not for a network, and why. One file, written atomically."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from converter_companion.plan import Failure
from models.files import FILE_SYSTEM, FileSystem, refusal

log = logging.getLogger(__name__)

MOST_FAILURES = 2000
"""The oldest are forgotten: they would only be tried once more."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: int = 1
    failures: dict[str, Failure] = {}


class Memory:
    """Failures by `Task.key`. All methods block, and may be called by several threads."""

    def __init__(self, path: Path, files: FileSystem = FILE_SYSTEM) -> None:
        self._path = path
        self._files = files
        self._changing = threading.Lock()
        self.failures: dict[str, Failure] = {}

    def load(self) -> None:
        """Read what was remembered. A file that cannot be read is told in the log and begun anew: nothing but time is lost."""
        try:
            self.failures = _Document.model_validate_json(self._path.read_bytes()).failures
        except FileNotFoundError:
            self.failures = {}
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read; what failed before will be tried once more: %s", self._path, error)
            self.failures = {}

    def remember(self, key: str, failure: Failure) -> None:
        """Raises `StorageRefused`."""
        with self._changing:
            self._write({**{k: v for k, v in self.failures.items() if k != key}, key: failure})

    def forget(self, *keys: str) -> None:
        """What worked, or is gone. Raises `StorageRefused`."""
        with self._changing:
            if not self.failures.keys().isdisjoint(keys):
                self._write({k: v for k, v in self.failures.items() if k not in keys})

    def _write(self, failures: dict[str, Failure]) -> None:
        failures = dict(list(failures.items())[-MOST_FAILURES:])
        try:
            self._files.make_folders(self._path.parent)
            self._files.write_atomically(self._path, _Document(failures=failures).model_dump_json(indent=1).encode())
        except OSError as error:
            raise refusal(error, "remember what failed") from error
        self.failures = failures
