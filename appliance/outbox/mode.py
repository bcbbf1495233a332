"""Whether the outbox sends: `continuous_upload` or `stopped`, kept over restarts in `DATA/outbox/mode`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import get_args

from models.errors import InvalidInput
from models.files import FileSystem, refusal
from models.wire.node_status import OutboxMode

log = logging.getLogger(__name__)

MODES: tuple[OutboxMode, ...] = get_args(OutboxMode)


def parse_mode(text: str) -> OutboxMode:
    """Raises `InvalidInput` where the text is none of the modes."""
    for mode in MODES:
        if mode == text.strip():
            return mode
    raise InvalidInput(f"{text!r:.100} is no mode of the outbox; it must be {' or '.join(MODES)}.")


def load_mode(path: Path) -> OutboxMode:
    """The mode as it was set last; `continuous_upload` where nobody has set one. Raises `StorageRefused`."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return "continuous_upload"
    except OSError as error:
        raise refusal(error, f"read the mode of the outbox in {path}") from error
    try:
        return parse_mode(text)
    except InvalidInput as error:
        # Who has stopped it relies on that; who has not will see that nothing is sent.
        log.error("The file %s is damaged: %s Nothing is sent until a mode is set.", path, error)
        return "stopped"


def save_mode(path: Path, mode: OutboxMode, files: FileSystem) -> None:
    """Store the mode durably. Raises `StorageRefused`; the old one then still stands."""
    try:
        files.make_folders(path.parent)
        files.write_atomically(path, mode.encode())
    except OSError as error:
        raise refusal(error, "store the mode of the outbox") from error
