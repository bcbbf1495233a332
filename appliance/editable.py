"""Settings that may be changed over the network: those with which nobody locks the box up or turns it into another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import InvalidInput

GROUPS: dict[str, dict[str, str]] = {
    "Pictures for the Loop": {
        "min_uncertain_threshold": "Uncertain from",
        "max_uncertain_threshold": "Uncertain up to",
        "max_picks_per_camera_per_hour": "Picks of one camera an hour",
    },
    "Outbox": {
        "max_outbox_size": "Pictures that may wait",
        "max_outbox_mb": "Megabytes that may wait",
        "min_free_disk_mb": "Megabytes of the disk that stay free",
        "upload_max_mbit": "Megabit a second for sending",
    },
    "Models": {
        "keep_model_versions": "Older versions that are kept",
        "max_models_mb": "Megabytes for models",
    },
    "Networks and names": {
        "trusted_networks": "Trusted networks",
        "allowed_hosts": "Further names of this box",
        "open_detection": "Strangers may detect",
    },
    "Cameras": {"camera_names": "Names of cameras"},
    "Log": {"log_level": "Least level"},
}
"""Group for people -> field -> what a page calls it."""

NOTES: dict[str, str] = {
    "Networks and names": "This box itself and everybody in a trusted network may do everything without a password; all others "
    "log in or send an API key, and without either they may at most detect and read the status.",
}
"""Group -> what one should know before changing something in it."""

EDITABLE = frozenset(name for group in GROUPS.values() for name in group)


def checked(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same. Raises `InvalidInput` where something else is to be changed."""
    for name in changes:
        if name not in EDITABLE:
            raise InvalidInput(
                f"{name[:60]!r} is not changed over the network, only in the environment or in appliance.toml; what is: "
                f"{', '.join(sorted(EDITABLE))}."
            )
    return changes
