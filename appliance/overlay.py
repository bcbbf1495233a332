"""What people change on the dashboard: `DATA/settings.toml`, above the configuration file and below the environment."""

from __future__ import annotations

import json
import sys
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


def change(settings: Settings, name: str, value: Any, files: FileSystem) -> None:
    """Write a setting into the overlay; it is in force when the settings are read again. Blocks.

    Raises `SettingsInvalid` where the environment or the command line has the last word, or the file cannot be
    understood, and `StorageRefused`.
    """
    origin = settings.origin(name)
    if origin.startswith(_WINS):
        raise SettingsInvalid(f"{name} is set by the {origin}, which has the last word: change it there.")
    path = settings.data_folder / OVERLAY_FILE
    try:
        values = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (ValueError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} is no valid TOML file: {error}. Correct it, or delete it.") from error
    except OSError as error:
        raise refusal(error, f"read the settings in {path}") from error
    values[name] = value
    # Text, numbers, booleans and lists of them: TOML writes these as JSON does.
    lines = ["# Changed on the dashboard.", *(f"{key} = {json.dumps(each)}" for key, each in sorted(values.items()))]
    try:
        files.write_atomically(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise refusal(error, f"store the settings in {path}") from error
