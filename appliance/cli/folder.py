"""The data folder without a server: commands open it themselves, through the services that a server uses."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from appliance.adopting import record
from appliance.adopting.record import RECORD_FILE, Record
from appliance.settings import Settings
from appliance.versions import state as state_file
from appliance.versions.selection import Scope, at_start, parse_mode, resolve
from appliance.versions.state import STATE_FILE, VersionState
from models.bundle import Bundle
from models.errors import NoModel, StorageRefused
from models.files import FILE_SYSTEM
from models.store import ModelStore, StoredModel
from models.zoo import seed_folder

MEGABYTE = 1_000_000


class Folder:
    """A data folder that no server runs on. All methods block and raise `DetectorApplianceError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state_path = settings.data_folder / STATE_FILE
        self._store = ModelStore(
            settings.data_folder / "models",
            [seed_folder()],
            free_space_floor=settings.min_free_disk_mb * MEGABYTE,
        )

    def listing(self) -> dict[str, Any]:
        """As `GET /api/v1/models`; `current` is what a server would serve."""
        state = self._state()
        first = self._first(state)
        return {
            "models": [
                {
                    **model.identity._asdict(),
                    "id": model.id,
                    "size_bytes": model.size_bytes,
                    "read_only": model.read_only,
                    "current": model == first,
                    "selectable": self._scope.holds(model),
                }
                for model in self._store.list()
            ],
            "broken": [{"folder": str(folder), "reason": reason} for folder, reason in self._store.broken()],
            "failures": [{"model_id": each.model_id, "reason": each.reason} for each in state.failures],
            "foreign": (record.load(self._settings.data_folder / RECORD_FILE) or Record()).foreign(),
        }

    def find(self, wanted: str) -> StoredModel:
        """The model that a version, or ORGANIZATION/PROJECT/[FORMAT/]VERSION, means. Raises `UnknownVersion`."""
        return resolve(wanted, self._store.list(), self._scope)

    def may_serve(self, model: StoredModel) -> bool:
        """Whether the settings let this model serve."""
        return self._scope.holds(model)

    def add(self, path: Path) -> StoredModel:
        """Take a zip or a folder into the store."""
        return self._store.put_folder(path) if path.is_dir() else self._store.put_zip(path)

    def choose_version(self, wanted: str) -> None:
        """Write down what the next server shall serve: a version, `follow_loop` or `pause`."""
        mode = parse_mode(wanted)
        state = self._state().in_mode(mode.control, mode.version)
        if mode.version is not None:
            state = state.forgetting(self.find(mode.version).id)
        state_file.save(self._state_path, state, FILE_SYSTEM)

    def remove(self, wanted: str) -> StoredModel:
        """Remove a version from the disk. Raises `StorageRefused` for what would serve, and for the seed model."""
        found = self.find(wanted)
        if found == self._first(self._state()) and not found.read_only:
            raise StorageRefused(
                f"Version {found.version} is what would serve; choose another one before it is removed: "
                "appliance models use VERSION"
            )
        self._store.remove(found)
        return found

    def bundle(self, wanted: str | None = None) -> Bundle:
        """A version, or else the model that a server would serve. Raises `NoModel` where there is none."""
        model = self.find(wanted) if wanted is not None else self._first(self._state())
        if model is None:
            raise NoModel("There is no model on this box; add one with: appliance models add ZIP")
        return self._store.open(model)

    @cached_property
    def _scope(self) -> Scope:
        from appliance.versions.scope import scope_of

        return scope_of(self._settings)

    def _first(self, state: VersionState) -> StoredModel | None:
        return next(iter(at_start(state, self._store.list(), self._scope)), None)

    def _state(self) -> VersionState:
        return state_file.load(self._state_path, FILE_SYSTEM)
