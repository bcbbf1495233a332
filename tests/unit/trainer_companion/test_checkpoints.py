"""Where a training stands, on disk: all or nothing, and only for the same training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from models.errors import NoRoom
from models.files import FileSystem
from tests.support.crashing_files import disks_after_every_cut
from trainer_companion import checkpoints
from trainer_companion.checkpoints import Checkpoint


def checkpoint(step: int, identity: str = "mine") -> Checkpoint:
    weights = {"weight": torch.full((3,), float(step))}
    return Checkpoint(
        identity, weights, weights, 5, {"state": {0: {"step": torch.tensor(1.0)}}}, {}, epoch=2, step=step
    )


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.pt"
    checkpoints.save(path, checkpoint(7))
    found = checkpoints.load(path, "mine")
    assert found is not None
    assert (found.epoch, found.step) == (2, 7)
    assert torch.equal(found.network["weight"], torch.full((3,), 7.0))
    assert found.optimizer["state"][0]["step"] == 1.0


def test_that_of_another_training_is_none(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "last.pt", checkpoint(7))
    assert checkpoints.load(tmp_path / "last.pt", "another") is None


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", b"PK\x03\x04"])
def test_a_damaged_or_missing_one_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "last.pt").write_bytes(content)
    assert checkpoints.load(tmp_path / "last.pt", "mine") is None


def test_a_power_cut_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    def old(root: Path) -> None:
        checkpoints.save(root / "last.pt", checkpoint(1))

    def write_new(files: FileSystem, root: Path) -> None:
        checkpoints.save(root / "last.pt", checkpoint(2), files)

    cut_short, finished = disks_after_every_cut(tmp_path, old, write_new)
    assert {step_on(disk) for disk in cut_short} == {1, 2}
    assert {step_on(disk) for disk in finished} == {2}


def step_on(disk: Path) -> int | None:
    found = checkpoints.load(disk / "last.pt", "mine")
    return None if found is None else found.step


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    class Full(FileSystem):
        def write_file(self, path: Path, chunks: Iterable[bytes]) -> int:
            raise OSError(28, "No space left on device")

    checkpoints.save(tmp_path / "last.pt", checkpoint(1))
    with pytest.raises(NoRoom, match="where the training stands"):
        checkpoints.save(tmp_path / "last.pt", checkpoint(2), Full())
    kept = checkpoints.load(tmp_path / "last.pt", "mine")
    assert kept is not None
    assert kept.step == 1
