"""What the Loop may tell a trainer at any time: begin, stop, abort, restart; and what it answers."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.service.running_loop import RunningLoop
from tests.service.trainer.trainers import Place, fake_command, until
from trainer_companion import job as jobs
from trainer_companion import look
from trainer_companion.node import Trainer

DETAILS = {"categories": [], "hyperparameters": {}, "training_number": 7, "model_variant": "small"}


@pytest.fixture
def place(loop: RunningLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path / "trainer")


@contextmanager
def slot_taken(path: Path) -> Iterator[None]:
    """Another trainer of this machine trains."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("pid 4711 on gpu, node abc, training #3 of acme/cups")
        file.flush()
        yield


async def has_a_model(trainer: Trainer) -> None:
    """Wait until the training has found its first model."""
    await until(lambda: trainer.run is not None and trainer.run.best is not None, "a first model")


def test_a_busy_trainer_refuses(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with place.running("--epochs", "1", "--pause", "60") as trainer:
            await place.begin(trainer)
            answer = await trainer.begin("acme", "other", DETAILS)
            assert (answer.success, answer.payload) == (False, "refused")
            assert answer.error_msg is not None
            assert f"acme/{place.shop.name}" in answer.error_msg
            await trainer.abort()

    asyncio.run(story())


@pytest.mark.parametrize("missing", ["categories", "hyperparameters", "training_number", "model_variant"])
def test_details_with_something_missing_are_answered_with_what(place: Place, missing: str) -> None:
    details = {key: value for key, value in DETAILS.items() if key != missing}

    async def story() -> None:
        async with place.running() as trainer:
            answer = await _as_the_loop(place, trainer, "begin_training", "acme", "parts", details)
            assert answer["success"] is False
            assert missing in answer["error_msg"]
            assert trainer.state == "idle"

    asyncio.run(story())


def test_stopping_keeps_the_model(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "50", "--pause", "0.3") as trainer:
            await place.begin(trainer)
            await has_a_model(trainer)
            answer = await place.ask("POST", "/trainings/1/stop")
            assert answer.status_code == 200
            assert (await place.ended())["state"] == "finished"
            [model] = await place.models()
            assert model["formats"] == ["appliance_pytorch", "onnx"]

    asyncio.run(story())


def test_a_training_that_does_not_end_when_it_is_stopped_is_ended_and_keeps_its_model(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer_companion.running.STOP_WITHIN_S", 0.2)
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "50", "--pause", "0.3", "--stubborn") as trainer:
            await place.begin(trainer)
            await has_a_model(trainer)
            await trainer.stop()
            assert (await place.ended())["state"] == "finished"
            assert len(await place.models()) == 1

    asyncio.run(story())


def test_stopping_before_there_is_a_model_says_so(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "50", "--pause", "60") as trainer:
            await place.begin(trainer)
            await until(lambda: trainer.state == "running")
            await trainer.stop()  # perhaps before the process can hear of it
            await until(lambda: trainer.state == "idle")
            assert trainer.last is not None
            assert trainer.last.outcome == "failed"
            assert set(trainer.errors) == {"run_training"}
            assert "stopped before it had found a model" in trainer.errors["run_training"]
            told = trainer.training_status()
            assert (told.state, told.errors) == ("idle", trainer.errors)

    asyncio.run(story())


def test_stopping_does_nothing_where_nothing_runs(place: Place) -> None:
    async def story() -> None:
        async with place.running() as trainer:
            answer = await _as_the_loop(place, trainer, "stop_training")
            assert answer == {"success": True, "error_msg": None, "payload": None}
            assert trainer.state == "idle"

    asyncio.run(story())


def test_aborting_throws_everything_away(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "50", "--pause", "0.3") as trainer:
            await place.begin(trainer)
            await has_a_model(trainer)
            child = trainer.walk._running._child._process  # type: ignore[union-attr]
            assert child is not None
            answer = await place.ask("POST", "/trainings/1/abort")
            assert answer.status_code == 200
            assert trainer.state == "idle"
            assert child.returncode is not None
            assert (await place.ended())["state"] == "aborted"
            assert await place.models() == []
            assert list(place.folder.glob("projects/*/*/trainings/*")) == []
            assert trainer.last is not None
            assert trainer.last.outcome == "aborted"

    asyncio.run(story())


def test_the_loop_can_have_the_program_start_anew(place: Place) -> None:
    async def story() -> None:
        async with place.running() as trainer:
            sid = place.loop.services.nodes.node(trainer.id).sid
            assert sid is not None
            wire = place.loop.services.nodes._wire
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(wire.emit(sid, "restart"), place.loop._loop))
            await until(lambda: place.restarted == 1)

    asyncio.run(story())


def test_while_another_trainer_has_the_slot_it_is_blocked_and_refuses(place: Place, tmp_path: Path) -> None:
    lock = tmp_path / "slot"
    place.annotated(2)

    async def story() -> None:
        async with place.running("--epochs", "1", settings=place.settings(training_slot_lock=lock)) as trainer:
            assert trainer.state == "idle"
            with slot_taken(lock):
                assert trainer.state == "blocked"
                assert trainer.training_status().state == "blocked"
                answer = await trainer.begin("acme", place.shop.name, DETAILS)
                assert (answer.success, answer.payload) == (False, "refused")
                assert "training #3 of acme/cups" in (answer.error_msg or "")
            assert trainer.state == "idle"
            await place.begin(trainer)
            assert f"training 1 of acme/{place.shop.name}" in lock.read_text()
            assert (await place.ended())["state"] == "finished"
            assert lock.read_text() == ""

    asyncio.run(story())


def test_a_training_that_goes_on_waits_for_the_slot(place: Place, tmp_path: Path) -> None:
    lock = tmp_path / "slot"
    settings = place.settings(training_slot_lock=lock)
    place.annotated(2)

    async def story() -> None:
        async with place.running("--epochs", "50", "--pause", "0.2", settings=settings) as trainer:
            await place.begin(trainer)
            await has_a_model(trainer)
        with slot_taken(lock):
            async with place.running("--epochs", "5", settings=settings) as trainer:
                assert trainer.state == "waiting_for_slot"
                assert (await trainer.begin("acme", "other", DETAILS)).payload == "refused"
                await until(lambda: (place.node(trainer) or {}).get("state") == "waiting_for_slot")
        async with place.running("--epochs", "5", settings=settings):
            assert (await place.ended())["state"] == "finished"

    asyncio.run(story())


def test_one_that_waits_for_the_slot_can_be_aborted(place: Place, tmp_path: Path) -> None:
    lock = tmp_path / "slot"
    settings = place.settings(training_slot_lock=lock)
    place.annotated(2)

    async def story() -> None:
        async with place.running("--epochs", "50", "--pause", "0.2", settings=settings) as trainer:
            await place.begin(trainer)
            await has_a_model(trainer)
        with slot_taken(lock):
            async with place.running(settings=settings) as trainer:
                assert trainer.state == "waiting_for_slot"
                assert (await place.ask("POST", "/trainings/1/abort")).status_code == 200
                assert trainer.state == "blocked"
                assert (await place.ended())["state"] == "aborted"

    asyncio.run(story())


@pytest.mark.parametrize("blocked", [False, True])
def test_an_idle_trainer_ends_itself_where_that_is_wished(place: Place, tmp_path: Path, blocked: bool) -> None:
    clock = [0.0]

    async def later(seconds: float) -> None:
        clock[0] += seconds
        await asyncio.sleep(0)

    async def story() -> None:
        settings = place.settings(trainer_idle_timeout_sec=60.0, training_slot_lock=tmp_path / "slot")
        with slot_taken(tmp_path / "slot") if blocked else nullcontext():
            async with place.running(settings=settings, sleep=later, now=lambda: clock[0]) as trainer:
                await until(lambda: place.stopped == 1)
                assert trainer.state == ("blocked" if blocked else "idle")
                assert 60 <= clock[0] <= 75

    asyncio.run(story())


def test_one_that_trains_does_not_end_itself_and_is_idle_anew_afterwards(place: Place) -> None:
    place.annotated(2)
    clock = [0.0]

    async def story() -> None:
        settings = place.settings(trainer_idle_timeout_sec=60.0)
        async with place.running("--epochs", "9", "--pause", "60", settings=settings, now=lambda: clock[0]) as trainer:
            clock[0] += 50
            await place.begin(trainer)
            await until(lambda: trainer.state == "running")
            for _ in range(10):
                clock[0] += 100
                await asyncio.sleep(0.06)  # it has looked meanwhile: `hurry` waits 0.05 s
            assert place.stopped == 0
            await trainer.abort()
            await until(lambda: trainer._idle_since == clock[0])
            clock[0] += 50
            await asyncio.sleep(0.2)
            assert place.stopped == 0
            clock[0] += 20
            await until(lambda: place.stopped == 1)

    asyncio.run(story())


@pytest.mark.parametrize("aborted", [False, True])
def test_after_a_training_it_starts_anew_where_that_is_wished(place: Place, aborted: bool) -> None:
    place.annotated(2)

    async def story() -> None:
        settings = place.settings(restart_after_training=True)
        async with place.running("--epochs", "1", "--pause", "60" if aborted else "0", settings=settings) as trainer:
            await place.begin(trainer)
            if aborted:
                await until(lambda: trainer.state == "running")
                assert place.restarted == 0
                assert (await place.ask("POST", "/trainings/1/abort")).status_code == 200
            await until(lambda: place.restarted == 1)
            assert (await place.training())["state"] == ("aborted" if aborted else "finished")

    asyncio.run(story())


def test_what_is_set_reaches_the_training_and_the_look_at_all_pictures(place: Place) -> None:
    place.annotated(2)
    asked: list[tuple[int, float | None]] = []

    def command(folder: Path, processes: int) -> list[str]:
        asked.append((processes, jobs.read(folder).vram_limit_gb))
        return fake_command("--epochs", "1")(folder, processes)

    def task() -> Path | None:
        return next(iter(place.folder.glob(f"projects/*/*/trainings/*/detections/{look.TASK}")), None)

    async def story() -> None:
        settings = place.settings(vram_limit_gb=3.5, inference_batch_size=4, training_processes=3)
        async with place.running(command=command, settings=settings) as trainer:
            await place.begin(trainer)
            await until(lambda: task() is not None, "it is written down what to look at")
            written = task()
            assert written is not None
            said = look.Task.model_validate_json(written.read_bytes())
            assert (said.batch_size, said.vram_limit_gb) == (4, 3.5)
            assert asked == [(3, 3.5)]
            await trainer.abort()

    asyncio.run(story())


@pytest.mark.parametrize("keep", [False, True])
def test_former_trainings_are_kept_only_where_that_is_wished(place: Place, keep: bool) -> None:
    place.annotated(2)

    async def story() -> None:
        settings = place.settings(keep_old_trainings=keep)
        async with place.running("--epochs", "1", settings=settings) as trainer:
            for number in (1, 2):
                await place.begin(trainer)
                await place.ended(number)
        folders = list(place.folder.glob("projects/*/*/trainings/*"))
        assert len(folders) == (2 if keep else 1)
        assert not list(place.folder.glob("projects/*/*/trainings/*/job/checkpoints"))

    asyncio.run(story())


async def _as_the_loop(place: Place, trainer: Trainer, event: str, *arguments: Any) -> Any:
    """Emit an event as the Loop does; the answer, with whatever is in it."""
    nodes = place.loop.services.nodes
    sid = nodes.node(trainer.id).sid
    assert sid is not None
    call = nodes._wire.call(sid, event, arguments, 30.0)
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, place.loop._loop))
