"""What of a data folder a backup holds, under which names, and whether what an archive holds can be that. Blocks.

    settings.toml versions.json …         state: small files, each replaced as a whole
    models/ORG/PROJECT/FORMAT/VERSION/    models, each complete or not there
    outbox/QUEUE/ID/                      pictures, likewise

Names come out of archives of strangers: only what fits one of these forms is ever written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from appliance.adopting.record import RECORD_FILE, Record
from appliance.api_keys import FILE_NAME as API_KEYS_FILE
from appliance.api_keys import ApiKeys
from appliance.outbox.folders import FOLDERS, is_id
from appliance.passwords import FILE_NAME as PASSWORD_FILE
from appliance.passwords import PasswordFile
from appliance.settings import OVERLAY_FILE, Settings
from appliance.versions.state import STATE_FILE, VersionState
from models.bundle import open_bundle
from models.bundle_zip import refused_name
from models.errors import BundleError, InvalidInput, ModelFailed, SettingsInvalid
from models.files import FILE_SYSTEM
from models.identity import UUIDS_FILE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STATE = (OVERLAY_FILE, STATE_FILE, UUIDS_FILE, API_KEYS_FILE, PASSWORD_FILE, RECORD_FILE)
"""Sessions are left out: who had logged in logs in again."""

MODELS, OUTBOX = "models", "outbox"

_DEPTH = {MODELS: 5, OUTBOX: 3}
"""Parts of the path of a folder that comes or goes as a whole."""

MAX_STATE_BYTES = 1 << 20


def unit_of(name: str) -> PurePosixPath | None:
    """What a file of this name belongs to: itself for state, else the folder that comes as a whole; None: to nothing. Pure."""
    parts = name.split("/")
    if name in STATE:
        return PurePosixPath(name)
    depth = _DEPTH.get(parts[0])
    if depth is None or len(parts) != depth + 1:
        return None
    fits = _is_picture(*parts[1:]) if parts[0] == OUTBOX else _is_of_model(parts)
    return PurePosixPath(*parts[:-1]) if fits else None


def _is_of_model(parts: list[str]) -> bool:
    return not any(part.startswith(".") or refused_name(part) is not None for part in parts)


def _is_picture(queue: str, item_id: str, name: str) -> bool:
    fits = name in (f"image_{item_id}.jpg", f"image_{item_id}.json", "reason.json")
    return queue in FOLDERS and is_id(item_id) and fits


def files_of(data: Path, part: str) -> Iterator[Path]:
    """The files of the models or of the outbox that belong into a backup. What goes meanwhile is left out."""
    pattern = "/".join("*" * (_DEPTH[part]))
    for path in sorted((data / part).glob(pattern)):
        name = path.relative_to(data).as_posix()
        if path.is_file() and not path.is_symlink() and unit_of(name) is not None:
            yield path


def check_unit(staged: Path, unit: PurePosixPath) -> None:
    """Raises `InvalidInput` where what was unpacked is not what its name says."""
    path = staged / unit
    try:
        if unit.parts[0] == MODELS:
            found = open_bundle(path).identity
            if tuple(found) != unit.parts[1:]:
                raise InvalidInput(f"{unit} holds another model: {'/'.join(found)}.")
        elif unit.parts[0] == OUTBOX:
            if not {f"image_{unit.name}.jpg", f"image_{unit.name}.json"} <= {each.name for each in path.iterdir()}:
                raise InvalidInput(f"{unit} lacks the picture, or what is known of it.")
        else:
            _check_state(path)
    except (BundleError, ModelFailed, SettingsInvalid, ValidationError, ValueError, RecursionError) as error:
        words = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InvalidInput(f"{unit} in this backup cannot be used: {words}") from error


def _check_state(path: Path) -> None:
    if path.stat().st_size > MAX_STATE_BYTES:
        raise ValueError("it is far too long.")
    if path.name == OVERLAY_FILE:
        values = tomllib.loads(path.read_text("utf-8"))
        if "data_folder" in values:
            raise ValueError("it names another data folder.")
        Settings(data_folder=path.parent).changed(values)
    elif path.name == STATE_FILE:
        VersionState.model_validate_json(path.read_bytes())
    elif path.name == UUIDS_FILE:
        known = json.loads(path.read_text("utf-8"))
        if not isinstance(known, dict) or not all(isinstance(each, str) for each in known.values()):
            raise ValueError("it should tell names and uuids.")
    elif path.name == API_KEYS_FILE:
        ApiKeys(path).list()
    elif path.name == PASSWORD_FILE:
        PasswordFile(path, FILE_SYSTEM).load()
    elif path.name == RECORD_FILE:
        Record.model_validate_json(path.read_bytes())
