"""What people change on the dashboard: `DATA/settings.toml`, above the configuration file and below the environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.settings import OVERLAY_FILE, Settings
from models.errors import SettingsInvalid
from models.files import FileSystem, refusal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_WINS = ("environment", "command line")
"""Origins of settings that the overlay cannot change."""


def locked_by(settings: Settings, name: str) -> str | None:
    """What has the last word over a setting, so that it cannot be changed here; None where nothing has."""
    origin = settings.origin(name)
    return origin if origin.startswith(_WINS) else None


def change(settings: Settings, name: str, value: Any, files: FileSystem) -> None:
    """Write a setting into the overlay; it is in force when the settings are read again. Blocks. Raises as `change_all`."""
    change_all(settings, {name: value}, files)


def change_all(settings: Settings, changes: Mapping[str, Any], files: FileSystem) -> None:
    """Write settings into the overlay, all or none; None takes one out of it again. Blocks.

    One caller at a time. Raises `SettingsInvalid` where the environment or the command line has the last word, a value
    cannot be used, or the file cannot be understood, and `StorageRefused`.
    """
    for name in changes:
        if (origin := locked_by(settings, name)) is not None:
            raise SettingsInvalid(f"{name} is set by the {origin}, which has the last word: change it there.")
    path = settings.data_folder / OVERLAY_FILE
    values = read(path)
    wanted = {name: value for name, value in changes.items() if value is not None}
    # As they will be read again: a number that came as text is a number there.
    plain = settings.changed(wanted).model_dump(mode="json") if wanted else {}
    values = {name: value for name, value in values.items() if name not in changes}
    write(path, {**values, **{name: plain[name] for name in wanted}}, files)


def write(path: Path, values: Mapping[str, Any], files: FileSystem) -> None:
    """Have these alone in the overlay. Blocks. Raises `StorageRefused`."""
    lines = ["# Changed on the dashboard.", *(f"{key} = {_toml(each)}" for key, each in sorted(values.items()))]
    try:
        files.write_atomically(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise refusal(error, f"store the settings in {path}") from error


def _toml(value: Any) -> str:
    """Text, numbers, booleans, lists of them and tables of text, which TOML writes nearly as JSON does."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(path: Path) -> dict[str, Any]:
    """What is in the overlay. Raises `SettingsInvalid` where it cannot be understood, `StorageRefused` where not read."""
    try:
        return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (ValueError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} is no valid TOML file: {error}. Correct it, or delete it.") from error
    except OSError as error:
        raise refusal(error, f"read the settings in {path}") from error
