"""The subprocess as it is really started: alone, two together, stopped by a signal, killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.bundle import open_bundle
from models.errors import ModelFailed
from networks import bundles
from tests.support.coco_folders import write_squares
from trainer_companion import job, launching
from trainer_companion.children import workers
from trainer_companion.job import Job
from trainer_companion.launching import Training
from trainer_companion.progress import Best, Done, Event, Failed, Progress, Started


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "set", 48)


def asked(folder: Path, pictures: Path, **turned: Any) -> Path:
    """A job in a folder, for 64-pixel pictures."""
    given = {"resolution": 64, "max_batch_size": 6, **turned}
    job.write(folder, Job(dataset=pictures, variant="edge-residual-128", hyperparameters=given, device="cpu"))
    return folder


def test_one_process_trains_and_tells(squares: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    done = Training(asked(tmp_path, squares, epochs=2), 1).run(events.append)
    assert done == events[-1]
    assert done.reason == "epochs"
    assert isinstance(events[0], Started)
    assert any(isinstance(event, Best) for event in events)
    assert bundles.read(open_bundle(Path(done.bundle))).class_count == 2


def test_two_processes_learn_what_one_with_doubled_batch_learns(squares: Path, tmp_path: Path) -> None:
    still = {"epochs": 6, "zoom": 0.1}
    one: list[Event] = []
    Training(asked(tmp_path / "one", squares, max_batch_size=12, **still), 1).run(one.append)
    two: list[Event] = []
    done = Training(asked(tmp_path / "two", squares, max_batch_size=6, **still), 2).run(two.append)
    started = next(event for event in two if isinstance(event, Started))
    assert (started.processes, started.batch_size) == (2, 6)
    ends = [per_epoch(events) for events in (one, two)]
    assert set(ends[0]) == set(ends[1]) == {1, 2, 3, 4, 5, 6}
    for epoch in ends[0]:
        # Each process normalizes by its own pictures: that is all the difference.
        assert ends[1][epoch] == pytest.approx(ends[0][epoch], rel=0.08), (epoch, ends)
    assert ends[1][6] < 0.7 * ends[1][1]
    assert bundles.read(open_bundle(Path(done.bundle))).class_count == 2


def per_epoch(events: list[Event]) -> dict[int, float]:
    """The loss of each epoch."""
    return {
        event.epoch: event.loss
        for event in events
        if isinstance(event, Progress) and event.loss is not None and event.step == 0 and event.epoch
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_ends_it_soon_with_a_model(squares: Path, tmp_path: Path, processes: int) -> None:
    training = Training(asked(tmp_path, squares, epochs=10_000), processes)
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress):
            training.stop()

    done = training.run(heard)
    assert done.reason == "stopped"
    assert bundles.read(open_bundle(Path(done.bundle))).class_count == 2
    assert (tmp_path / job.CHECKPOINT).exists()


def test_torchrun_itself_is_not_asked_to_end(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would kill its workers after half a minute, however long the last look at the pictures takes."""
    training = Training(asked(tmp_path, squares, epochs=10_000), 2)
    signalled: list[int] = []
    kill = os.kill

    def noted(pid: int, number: int) -> None:
        signalled.append(pid)
        kill(pid, number)

    def heard(event: Event) -> None:
        if isinstance(event, Progress) and not signalled:
            monkeypatch.setattr(os, "kill", noted)
            training.stop()

    assert training.run(heard).reason == "stopped"
    assert training._process is not None
    assert len(signalled) == 2
    assert training._process.pid not in signalled


def test_no_worker_outlives_a_torchrun_that_is_killed(squares: Path, tmp_path: Path) -> None:
    """It would go on beside those that are started next, on the same files."""
    training = Training(asked(tmp_path, squares, epochs=10_000), 2)
    found: list[int] = []

    def heard(event: Event) -> None:
        if isinstance(event, Progress) and not found:
            assert training._process is not None
            found.extend(workers(training._process.pid))
            os.kill(training._process.pid, signal.SIGKILL)

    with pytest.raises(ModelFailed, match="signal 9"):
        training.run(heard)
    assert len(found) == 2
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in found):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_started_again_it_goes_on(squares: Path, tmp_path: Path, processes: int) -> None:
    asked(tmp_path, squares, epochs=40)
    first = Training(tmp_path, processes)

    def kill_later(event: Event) -> None:
        if isinstance(event, Progress) and event.epoch >= 2 and event.step == 0:
            first.kill()

    with pytest.raises(ModelFailed, match="signal 9"):
        first.run(kill_later)
    events: list[Event] = []
    second = Training(tmp_path, processes)

    def stop_soon(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress):
            second.stop()

    second.run(stop_soon)
    assert next(event for event in events if isinstance(event, Progress)).epoch >= 1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_cannot_be_done_fails_with_one_sentence(squares: Path, tmp_path: Path, processes: int) -> None:
    folder = asked(tmp_path, squares, epochs=1, learning_rte=3)
    events: list[Event] = []
    with pytest.raises(ModelFailed, match="no hyperparameter 'learning_rte'"):
        Training(folder, processes).run(events.append)
    assert [type(event) for event in events] == [Failed]


def test_two_machines_train_together_and_both_hear_of_the_end(squares: Path, tmp_path: Path) -> None:
    """Two torchruns as on two machines that see the same folder."""
    folder = asked(tmp_path, squares, epochs=2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    heard: list[list[Event]] = [[], []]

    def machine(rank: int) -> Done:
        options = ["--nnodes=2", f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        return Training(folder, 1, options).run(heard[rank].append)

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(machine, (0, 1)))
    assert ends[0].bundle == ends[1].bundle
    assert [type(event) for event in heard[1]] == [Done]
    started = next(event for event in heard[0] if isinstance(event, Started))
    assert started.processes == 2


SCRIPT = "import sys; sys.stderr.write('Bus error\\n'); sys.exit(3)"
AGAIN = 'print(\'{"event": "failed", "message": "less next time", "again": true}\'); raise SystemExit(1)'


def test_a_process_that_dies_silently_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "command", lambda *_: ["python3", "-c", SCRIPT])
    with pytest.raises(ModelFailed, match=r"status 3.*Bus error"):
        Training(tmp_path, 1).run(lambda event: None)


def test_a_training_that_asks_to_be_started_again_is_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "command", lambda *_: ["python3", "-c", AGAIN])
    events: list[Event] = []
    with pytest.raises(ModelFailed, match="less next time"):
        Training(tmp_path, 1).run(events.append)
    assert len(events) == launching.MOST_STARTS


def test_called_wrongly_it_says_how(tmp_path: Path) -> None:
    command = job.command(tmp_path)[:-1]
    ended = subprocess.run(command, capture_output=True, text=True, env=job.environment(), timeout=120, check=False)
    assert ended.returncode == 2
    assert "JOB_FOLDER" in ended.stderr


def test_a_disk_that_is_full_is_said_with_the_prospect_of_going_on(squares: Path, tmp_path: Path) -> None:
    """The real process: where its checkpoint should be there is something that is no folder, as if the disk refused."""
    folder = asked(tmp_path / "job", squares, epochs=2)
    (folder / "checkpoints").write_bytes(b"")
    events: list[Event] = []
    with pytest.raises(ModelFailed, match="where the training stands"):
        Training(folder, 1).run(events.append)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.later
    assert not failed.again
    (folder / "checkpoints").unlink()
    assert Training(folder, 1).run(events.append).epochs == 2
