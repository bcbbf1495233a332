"""A trainer whose threads are at work when somebody loses patience: nothing of it goes on behind its back.

No loop is needed: the training at hand waits for the slot, or gives up for want of one.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.files import FILE_SYSTEM, FileSystem
from tests.service.trainer.trainers import VARIANTS, hurry, until
from tests.support.held_threads import Held, HeldFiles
from trainer_companion.node import Trainer
from trainer_companion.run_state import PROJECTS, RUN, TRAININGS, RunStore, new_run
from trainer_companion.settings import TrainerSettings
from trainer_companion.slot import Slot

DETAILS = {"categories": [], "hyperparameters": {}, "training_number": 7, "model_variant": "small"}


@asynccontextmanager
async def trainer(folder: Path, files: FileSystem = FILE_SYSTEM, slot: Path | None = None) -> AsyncIterator[Trainer]:
    """One that has no loop."""
    settings = TrainerSettings(data_folder=folder, node_name="lonely", training_slot_lock=slot)
    made = Trainer(
        settings, restart=lambda: None, stop=lambda: None, files=files, variants=lambda: VARIANTS, sleep=hurry
    )
    await made.start()
    try:
        yield made
    finally:
        await made.close()
        await made.connection.close()


@contextmanager
def taken(slot: Path) -> Iterator[None]:
    """Another trainer of this machine trains."""
    with slot.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def under_way(folder: Path) -> str:
    """A training that was under way when the program ended; its id."""
    run = new_run("acme", "cups", DETAILS, now=0.0)
    RunStore(folder).write(run)
    return run.id


def trainings(folder: Path) -> Path:
    return folder / PROJECTS / "acme" / "cups" / TRAININGS


@pytest.mark.parametrize(("step", "name"), [("remember", RUN), ("remove", TRAININGS)])
def test_a_training_is_begun_though_nobody_waits_for_the_answer_any_more(tmp_path: Path, step: str, name: str) -> None:
    """Begun by half it would be gone on with after the next start, and its file be written beside that of the next one."""
    trainings(tmp_path).mkdir(parents=True)
    held = Held()

    async def story() -> None:
        async with trainer(tmp_path, HeldFiles(held, step, name)) as node:
            assert not await held.cancelled(node.begin("acme", "cups", DETAILS))
            await until(lambda: node.last is not None, "it has come to its end: there is no loop")
            assert node.last is not None
            assert node.last.training_number == 7

    asyncio.run(story())
    assert not (tmp_path / RUN).exists()


def test_a_training_is_thrown_away_though_nobody_waits_for_it(tmp_path: Path) -> None:
    slot, held, run = tmp_path / "slot", Held(), under_way(tmp_path)
    (trainings(tmp_path) / run).mkdir(parents=True)

    async def story() -> None:
        async with trainer(tmp_path, HeldFiles(held, "remove", run), slot) as node:
            await until(lambda: node.state == "waiting_for_slot")
            assert not await held.cancelled(node.abort())
            assert node.walk is None
            assert node.last is not None
            assert node.last.outcome == "aborted"

    with taken(slot):
        asyncio.run(story())
    assert list(trainings(tmp_path).iterdir()) == []
    assert not (tmp_path / RUN).exists()


def test_a_training_is_told_to_stop_though_who_told_it_has_left(tmp_path: Path) -> None:
    slot, held, told = tmp_path / "slot", Held(), asyncio.Event()
    under_way(tmp_path)

    async def stop() -> None:
        await asyncio.to_thread(held.here)
        told.set()

    async def story() -> None:
        async with trainer(tmp_path, slot=slot) as node:
            assert node.walk is not None
            node.walk._running = SimpleNamespace(stop=stop)  # type: ignore[assignment]
            assert not await held.cancelled(node.stop())
            node.walk._running = None

    with taken(slot):
        asyncio.run(story())
    assert told.is_set()


def test_a_slot_that_is_being_claimed_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slot, held = tmp_path / "slot", Held()
    under_way(tmp_path)
    claim = Slot.claim

    def slowly(self: Slot, training: str) -> Any:
        held.here()
        return claim(self, training)

    monkeypatch.setattr(Slot, "claim", slowly)

    async def story() -> None:
        async with trainer(tmp_path, slot=slot) as node:
            await held.is_met()
            closing = asyncio.ensure_future(node.close())
            done, _ = await asyncio.wait([closing], timeout=0.05)
            held.go_on.set()
            await closing
            assert not done
            assert not node.slot.held

    asyncio.run(story())
    assert Slot(slot).holder() is None
