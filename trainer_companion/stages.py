"""The stages of a training, in the words in which learning-loop-node's trainers tell them, and what follows a failure.

    initialized ─ data_downloading ─> data_downloaded ─ train_model_downloading ─> train_model_downloaded ─ running ─>
    training_finished ─ confusion_matrix_syncing ─> confusion_matrix_synced ─ train_model_uploading ─>
    train_model_uploaded ─ detecting ─> detected ─ detection_uploading ─> ready_for_cleanup

A stage that fails is tried again from its beginning; what cannot succeed goes to `ready_for_cleanup`. Of the
states that learning-loop-node 0.27 names, `preparing` never comes: its training loop never sets it, and neither do we. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.errors import DetectorApplianceError

State = Literal[
    "initialized",
    "data_downloaded",
    "train_model_downloaded",
    "training_finished",
    "confusion_matrix_synced",
    "train_model_uploaded",
    "detected",
    "ready_for_cleanup",
]
"""Where a training can rest: what is written down."""

Key = Literal[
    "prepare",
    "download_model",
    "run_training",
    "sync_confusion_matrix",
    "upload_model",
    "detecting",
    "upload_detections",
]
"""Of a stage, and of its error in the status."""

FIRST_DELAY_S = 5.0
LONGEST_DELAY_S = 300.0


class HopelessError(DetectorApplianceError):
    """It would fail again however often it is tried; the training ends with this sentence."""


@dataclass(frozen=True)
class Stage:
    """One step of a training: from `begins` over `during`, which is told and not written down, to `ends`."""

    key: Key
    begins: State
    during: str
    ends: State


STAGES = (
    Stage("prepare", "initialized", "data_downloading", "data_downloaded"),
    Stage("download_model", "data_downloaded", "train_model_downloading", "train_model_downloaded"),
    Stage("run_training", "train_model_downloaded", "running", "training_finished"),
    Stage("sync_confusion_matrix", "training_finished", "confusion_matrix_syncing", "confusion_matrix_synced"),
    Stage("upload_model", "confusion_matrix_synced", "train_model_uploading", "train_model_uploaded"),
    Stage("detecting", "train_model_uploaded", "detecting", "detected"),
    Stage("upload_detections", "detected", "detection_uploading", "ready_for_cleanup"),
)

_BY_BEGINNING = {stage.begins: stage for stage in STAGES}


def stage_at(state: State) -> Stage | None:
    """What is due in `state`; None where only the cleaning up is left."""
    return _BY_BEGINNING.get(state)


def retry_delay(failures: int) -> float:
    """Seconds before a stage is tried again that has failed so many times in a row: 5, doubling to 300; 0 at first."""
    if failures == 0:
        return 0.0
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 16), LONGEST_DELAY_S)
