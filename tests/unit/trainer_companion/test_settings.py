"""The settings of a trainer, by the names and in the spellings that learning-loop-node's trainers read."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import SettingsInvalid
from trainer_companion.settings import TrainerSettings


def load(**environ: str) -> TrainerSettings:
    return TrainerSettings.load({"HOME": "/nowhere", **environ})


def test_without_any_it_is_as_upstreams_trainers_are() -> None:
    found = load()
    assert (found.port, found.inference_batch_size, found.trainer_idle_timeout_sec, found.vram_limit_gb) == (
        8024,
        10,
        0,
        0,
    )
    assert (found.restart_after_training, found.keep_old_trainings, found.training_slot_lock) == (False, False, None)


def test_the_names_of_upstream_are_read(tmp_path: Path) -> None:
    found = load(
        INFERENCE_BATCH_SIZE="4",
        RESTART_AFTER_TRAINING="TRUE",
        KEEP_OLD_TRAININGS="1",
        TRAINER_IDLE_TIMEOUT_SEC="60.5",
        TRAINING_SLOT_LOCK=str(tmp_path / "slot"),
        VRAM_LIMIT_GB="7.5",
        DATA_FOLDER=str(tmp_path),
        NODE_HOST="0.0.0.0",
        NODE_PORT="99",
        NODE_NAME="gpu",
        SKIP_REPEAT_ON_START="1",
        USE_BACKDOOR_CONTROLS="true",
    )
    assert (found.inference_batch_size, found.restart_after_training, found.keep_old_trainings) == (4, True, True)
    assert (found.trainer_idle_timeout_sec, found.vram_limit_gb) == (60.5, 7.5)
    assert found.training_slot_lock == tmp_path / "slot"
    assert (found.data_folder, found.bind_host, found.port, found.node_name) == (tmp_path, "0.0.0.0", 99, "gpu")
    assert found.skip_repeat_on_start
    assert found.use_backdoor_controls


@pytest.mark.parametrize("word", ["", "0", "FALSE", "false"])
def test_switches_are_off_where_upstream_reads_them_so(word: str) -> None:
    found = load(RESTART_AFTER_TRAINING=word, KEEP_OLD_TRAININGS=word, USE_BACKDOOR_CONTROLS=word)
    assert not (found.restart_after_training or found.keep_old_trainings or found.use_backdoor_controls)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRAINING_SLOT_LOCK", "/nowhere/at/all/slot", "no folder /nowhere/at/all; mount it from the host"),
        ("INFERENCE_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("VRAM_LIMIT_GB", "-1", "greater than or equal to 0"),
        ("TRAINER_IDLE_TIMEOUT_SEC", "soon", "number"),
        ("TRAINING_PROCESSES", "1000", "less than or equal to 64"),
    ],
)
def test_a_mistake_names_the_variable_and_what_is_wrong(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsInvalid, match=name) as refused:
        load(**{name: value})
    assert words in str(refused.value)
