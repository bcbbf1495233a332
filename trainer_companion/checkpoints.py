"""Where a training stands, on disk: whoever starts it again goes on from there."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from models.files import FILE_SYSTEM, FileSystem, refusal

SECONDS_BETWEEN = 30.0
"""A training that is killed loses no more than this."""


@dataclass
class Checkpoint:
    """`epoch` and `step` (of the epoch) are the next ones; `elapsed` in seconds. `identity` says of which training it is:
    one of other pictures, hyperparameters or network does not go on from here. `lr_factor` is below 1 after the loss was
    lost. `since_better`: evaluations. `best`: what was said of the best model, JSON; `best_rank`: that of its evaluation.
    """

    identity: str
    network: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    average_steps: int
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    epoch: int = 0
    step: int = 0
    steps_done: int = 0
    elapsed: float = 0.0
    batch_size: int = 0
    lr_factor: float = 1.0
    best_epoch: int = -1
    best_rank: tuple[float, float] = (0.0, 0.0)
    best: str = ""
    since_better: int = 0
    evaluations: int = 0


def save(path: Path, checkpoint: Checkpoint, files: FileSystem = FILE_SYSTEM) -> None:
    """Write it, all or nothing. Blocks. Raises `StorageRefused`, `NoRoom`."""
    buffer = io.BytesIO()
    torch.save({field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}, buffer)
    try:
        files.make_folders(path.parent)
        files.write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise refusal(error, "write down where the training stands") from error


def load(path: Path, identity: str) -> Checkpoint | None:
    """The checkpoint of the same training; None where there is none, a damaged one, or another's."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = Checkpoint(**state)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError):
        return None
    return found if found.identity == identity else None
