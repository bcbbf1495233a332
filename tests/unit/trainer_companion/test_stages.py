"""The walk of a training, as upstream's trainers tell it."""

from __future__ import annotations

import pytest

from trainer_companion.stages import STAGES, retry_delay, stage_at


def test_the_stages_follow_each_other_in_upstreams_words() -> None:
    path = ["initialized"]
    while (stage := stage_at(path[-1])) is not None:  # type: ignore[arg-type]
        path += [stage.during, stage.ends]
    assert path == [
        "initialized",
        "data_downloading",
        "data_downloaded",
        "train_model_downloading",
        "train_model_downloaded",
        "running",
        "training_finished",
        "confusion_matrix_syncing",
        "confusion_matrix_synced",
        "train_model_uploading",
        "train_model_uploaded",
        "detecting",
        "detected",
        "detection_uploading",
        "ready_for_cleanup",
    ]


def test_errors_have_the_names_that_upstream_gives_them() -> None:
    assert [stage.key for stage in STAGES] == [
        "prepare",
        "download_model",
        "run_training",
        "sync_confusion_matrix",
        "upload_model",
        "detecting",
        "upload_detections",
    ]


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (8, 300), (10_000, 300)],
)
def test_the_pause_before_another_try_doubles_to_five_minutes(failures: int, seconds: float) -> None:
    assert retry_delay(failures) == seconds
