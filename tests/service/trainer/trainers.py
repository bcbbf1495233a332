"""A trainer in this process and a project of a loop for it; the training itself is `tests.support.fake_training`."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from models.wire.training import PretrainedModel
from tests.service.loop_server.images_project import Shop
from tests.service.running_loop import RunningLoop
from tests.support import fake_training
from trainer_companion.node import Trainer
from trainer_companion.settings import TrainerSettings
from trainer_companion.workplace import Workplace

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
_numbers = itertools.count(1)

VARIANTS = [PretrainedModel(name="small", label="Small", description="a small network")]


@functools.lru_cache(maxsize=1)
def weights() -> Path:
    """The weights that the fake leaves; to make them takes longer than all the rest of it."""
    folder = Path(tempfile.mkdtemp(prefix="fake-training-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return fake_training.write_weights(folder / fake_training.WEIGHTS)


def fake_command(*options: str) -> Callable[[Path, int], list[str]]:
    """The command line of a training that learns nothing."""
    program = [sys.executable, "-m", fake_training.__name__, "--weights", str(weights())]
    return lambda folder, _processes: [*program, *options, str(folder)]


async def copy_as_onnx(_work: Workplace, bundle: Path, out: Path) -> None:
    """The fake's model is ONNX already."""
    await asyncio.to_thread(shutil.copytree, bundle, out)


async def hurry(seconds: float) -> None:
    """Waits that nobody has to see."""
    await asyncio.sleep(min(seconds, 0.05))


class Place:
    """What survives of a trainer when it ends: its data folder and its name; and the project that it trains for."""

    def __init__(self, loop: RunningLoop, folder: Path, *categories: str) -> None:
        self.loop = loop
        self.folder = folder
        self.name = f"trainer {next(_numbers)}"
        self.shop = Shop(loop, *(categories or ("bolt",)))
        self.stopped = self.restarted = 0

    def settings(self, **given: Any) -> TrainerSettings:
        """Of its trainer."""
        return TrainerSettings(
            **{"data_folder": self.folder, "loop_host": self.loop.host, "node_name": self.name, **given}
        )

    def annotated(self, number: int) -> list[str]:
        """Put pictures with a bolt on each into the project, at least so many, not all of them for testing; their ids."""
        box = {"category_name": "bolt", "x": 3, "y": 4, "width": 10, "height": 8}
        ids = self.shop.add(number, state="complete", box_annotations=[box])
        while all(self.shop.image(id)["set"] != "train" for id in ids):
            ids += self.shop.add(1, state="complete", box_annotations=[box])
        return ids

    def trainer(self, *options: str, **given: Any) -> Trainer:
        """A trainer that is not started."""
        settings = given.pop("settings", None) or self.settings()

        def stop() -> None:
            self.stopped += 1

        def restart() -> None:
            self.restarted += 1

        return Trainer(
            settings,
            restart=restart,
            stop=stop,
            **{
                "variants": lambda: VARIANTS,
                "command": fake_command(*options),
                "export": copy_as_onnx,
                "sleep": hurry,
                **given,
            },
        )

    @asynccontextmanager
    async def running(self, *options: str, **given: Any) -> AsyncIterator[Trainer]:
        """A trainer that is connected to the loop."""
        trainer = self.trainer(*options, **given)
        try:
            await trainer.start()
            await trainer.connection.switch(True)
            await until(lambda: self.node(trainer) is not None, "the loop knows the trainer")
            yield trainer
        finally:
            await trainer.close()
            await trainer.connection.close()

    def node(self, trainer: Trainer) -> Any:
        """The trainer as the loop sees it."""
        shown = self.loop.services.nodes.shown(trainer.id)
        return shown if shown is not None and shown["online"] else None

    async def begin(self, trainer: Trainer, **wish: Any) -> dict[str, Any]:
        """A person begins a training; what the loop says of it."""
        answer = await self.ask("POST", "/trainings", json={"trainer_id": trainer.id, **wish})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ask(self, method: str, path: str, **request: Any) -> Any:
        """A person asks something of the project, while the trainer goes on."""
        return await asyncio.to_thread(self.loop.http.request, method, self.shop.path + path, **request)

    async def training(self, number: int = 1) -> dict[str, Any]:
        """A training as people see it."""
        found: dict[str, Any] = (await self.ask("GET", f"/trainings/{number}")).json()
        return found

    async def ended(self, number: int = 1) -> dict[str, Any]:
        """The same, once the loop knows that it has ended."""
        for _ in range(int(PATIENCE_S / 0.05)):
            found = await self.training(number)
            if found["ended"] is not None:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"it never ends: {found}")

    async def models(self) -> list[dict[str, Any]]:
        """The models of the project."""
        found: list[dict[str, Any]] = (await self.ask("GET", "/models")).json()["models"]
        return found


async def until(is_so: Callable[[], Any], what: str = "it") -> None:
    """Wait for something that has to happen soon."""
    for _ in range(int(PATIENCE_S / 0.01)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {what}")
