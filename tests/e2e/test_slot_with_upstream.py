"""Our trainer and one built on learning-loop-node share a machine: each keeps off while the other has the training slot."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.peers import CLIENT_SCRIPTS, peer_venv
from tests.service.running_loop import RunningLoop
from tests.service.trainer.test_what_it_is_told import has_a_model
from tests.service.trainer.trainers import Place, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # making a peer's environment takes minutes

THEIRS = "node upstream, training #5 of acme/cups"


class Upstream:
    """The slot in the hands of learning-loop-node 0.27, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, word: str) -> dict[str, Any]:
        """Have it do something; how it stands then. Blocks."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        answer = next(line for line in self._process.stdout if line.startswith("{"))  # the library logs between them
        found: dict[str, Any] = json.loads(answer)
        return found

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()


@contextmanager
def upstream(lock: Path) -> Iterator[Upstream]:
    """A process of learning-loop-node 0.27 that shares this slot."""
    command = [str(peer_venv("learning-loop-node-0.27")), str(CLIENT_SCRIPTS / "training_slot.py")]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "TRAINING_SLOT_LOCK": str(lock)}
    with subprocess.Popen(
        command, env=environment, cwd=lock.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Upstream(process)
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with RunningLoop(tmp_path / "loop", username="ann", password="secret enough") as loop:
        yield Place(loop, tmp_path / "trainer")


def test_while_theirs_has_it_ours_is_blocked_and_refuses_or_waits_and_goes_on_when_theirs_dies(
    place: Place, tmp_path: Path
) -> None:
    lock = tmp_path / "slot"
    settings = place.settings(training_slot_lock=lock)
    place.annotated(2)

    async def story(theirs: Upstream) -> None:
        async with place.running("--epochs", "50", "--pause", "0.2", settings=settings) as ours:
            assert theirs.tell("claim") == {"held": True, "taken": False, "said": None}
            await until(lambda: (place.node(ours) or {}).get("state") == "blocked", "the loop knows that it is blocked")
            refused = await place.ask("POST", "/trainings", json={"trainer_id": ours.id})
            assert refused.status_code == 409
            assert THEIRS in refused.json()["detail"]
            assert theirs.tell("release") == {"held": False, "taken": False, "said": None}
            assert ours.state == "idle"
            number = (await place.begin(ours))["number"]  # the Loop counts the refused one, too
            await has_a_model(ours)
        assert theirs.tell("claim")["held"], "a trainer that ends gives it back"

        async with place.running("--epochs", "5", settings=settings) as ours:
            await until(lambda: (place.node(ours) or {}).get("state") == "waiting_for_slot")
            assert ours.progress is None
            theirs.kill()
            assert (await place.ended(number))["state"] == "finished"

    with upstream(lock) as theirs:
        asyncio.run(story(theirs))


def test_while_ours_has_it_theirs_is_blocked_and_refuses_or_waits_until_ours_is_done(
    place: Place, tmp_path: Path
) -> None:
    lock = tmp_path / "slot"
    place.annotated(2)

    async def story(theirs: Upstream) -> None:
        settings = place.settings(training_slot_lock=lock)
        async with place.running("--epochs", "400", "--pause", "0.1", settings=settings) as ours:
            assert theirs.tell("look") == {"held": False, "taken": False, "said": None}
            await place.begin(ours)
            refused = theirs.tell("claim")
            assert (refused["held"], refused["taken"]) == (False, True)
            assert f"node {ours.id}, training 1 of acme/{place.shop.name}" in refused["said"]
            await has_a_model(ours)
            waiting = asyncio.create_task(asyncio.to_thread(theirs.tell, "wait"))
            done, _ = await asyncio.wait([waiting], timeout=1.5)
            assert not done, "it had the slot while ours was training"
            await ours.stop()
            assert (await place.ended())["state"] == "finished"
            assert await waiting == {"held": True, "taken": False, "said": None}
            assert ours.state == "blocked"

    with upstream(lock) as theirs:
        asyncio.run(story(theirs))
