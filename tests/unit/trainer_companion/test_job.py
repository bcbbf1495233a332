"""What a training is asked, on disk; what it says, line by line; and how it is started."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.errors import InvalidInput, StorageRefused
from models.files import FileSystem
from trainer_companion import job
from trainer_companion.job import Job
from trainer_companion.progress import Best, Confusion, Failed, Progress, parse, say


def test_a_job_comes_back_as_it_was_written(tmp_path: Path) -> None:
    asked = Job(dataset=tmp_path, variant="edge-residual-128", hyperparameters={"epochs": 3}, seed=4, minutes=2.5)
    job.write(tmp_path / "a" / "job", asked)
    assert job.read(tmp_path / "a" / "job") == asked


def test_a_job_needs_a_variant_or_a_base_model(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="variant or a base model"):
        Job(dataset=tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"dataset": "x", "variant": "y", "widht": 3}'])
def test_a_job_that_cannot_be_read_is_refused_in_words(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "job.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"job\.json"):
        job.read(tmp_path)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    class Refusing(FileSystem):
        def write_atomically(self, path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageRefused, match="write down the training"):
        job.write(tmp_path, Job(dataset=tmp_path, variant="x"), Refusing())


def test_one_process_needs_no_torchrun_and_several_machines_do(tmp_path: Path) -> None:
    assert job.command(tmp_path) == [sys.executable, "-m", "trainer_companion.training", str(tmp_path)]
    two = job.command(tmp_path, 2)
    assert two[1:5] == ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    machines = job.command(tmp_path, 1, ["--nnodes=2", "--node-rank=1"])
    assert "--standalone" not in machines
    assert machines[-3:] == ["-m", "trainer_companion.training", str(tmp_path)]


def test_processes_have_one_thread_each_unless_somebody_says_otherwise() -> None:
    assert job.environment({})["OMP_NUM_THREADS"] == "1"
    assert job.environment({})["OMP_WAIT_POLICY"] == "PASSIVE"
    assert job.environment({"OMP_NUM_THREADS": "4", "PATH": "/bin"})["OMP_NUM_THREADS"] == "4"


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    job.write(tmp_path / "job", Job(dataset=tmp_path, variant="x"))
    job.forget(tmp_path / "job")
    job.forget(tmp_path / "job")
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    "event",
    [
        Progress(share=0.5, epoch=3, step=7, loss=1.5),
        Failed(message="no", again=True),
        Best(epoch=1, map50=0.9, map=0.5, conf_threshold=0.4, confusion_matrix={"a": Confusion(tp=1)}, bundle="/x"),
    ],
)
def test_events_are_one_line_each_and_come_back(event: Progress | Failed | Best) -> None:
    stream = io.StringIO()
    say(event, stream)
    assert stream.getvalue().count("\n") == 1
    assert parse(stream.getvalue()) == event
    assert parse(stream.getvalue().encode()) == event


@pytest.mark.parametrize("line", ["", "epoch 3", "{", "{}", '{"event": "unheard of"}', b"\xff", "[1]", "{" * 2_000_000])
def test_other_lines_are_no_events(line: str | bytes) -> None:
    assert parse(line) is None
