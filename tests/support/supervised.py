"""A supervisor with fake workers, and a runtime whose accelerator tests plug in and pull out.

`coral` has to be among the runtimes while tests use it: that is what the fixture in the tests' conftest.py is for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from appliance.inference.supervisor import InferenceLimits, Picture, Supervisor
from models.bundle import Bundle
from tests.support.fake_workers import FakeWorker, FixedWays, Workshop, a_bundle, seen_in

REST, SOCKETIO = 10.0, 2.5
"""Seconds that a picture may wait."""

CPU = "coral/cpu/2"
TPU = "coral/edgetpu/1"
CORAL = (("coral", "edgetpu"), ("coral", "cpu"))
"""Weights for both."""


class SupervisedBox:
    """A supervisor with fake workers. Closed at the end of a `with`, upon which nothing may be alive."""

    def __init__(self, *ways: str, limits: InferenceLimits | None = None, **chooser: str) -> None:
        self.workshop = Workshop()
        self.chooser = FixedWays(*(ways or (CPU,)), **chooser)
        self.unfit: list[tuple[str | None, str]] = []
        self.supervisor = Supervisor(
            self.chooser, Path("cache"), limits or InferenceLimits(), launch=self.workshop.launch
        )
        self.supervisor.on_unfit = lambda bundle, why: self.unfit.append((bundle.model.version, why))

    async def __aenter__(self) -> SupervisedBox:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.close()
        assert self.workshop.alive == []

    async def load(self, bundle: Bundle | None = None) -> None:
        await self.supervisor.load(bundle or a_bundle())

    def ask(self, text: str, max_wait: float = REST) -> asyncio.Task[str]:
        """Have a picture looked at; the task's result is what was seen in it."""
        return asyncio.create_task(self._ask(text, max_wait))

    async def _ask(self, text: str, max_wait: float) -> str:
        return seen_in(await self.supervisor.detect(Picture(text.encode()), max_wait))

    async def ask_all(self, *texts: str) -> list[str | BaseException]:
        """Have pictures looked at that come in this order."""
        return await asyncio.gather(*map(self.ask, texts), return_exceptions=True)

    @property
    def worker(self) -> FakeWorker:
        """The worker that answers now."""
        worker = self.supervisor.worker
        assert isinstance(worker, FakeWorker)
        return worker

    @property
    def choice(self) -> str:
        assert self.supervisor.serving is not None
        return str(self.supervisor.serving.choice)

    def how(self) -> tuple[str, str | None]:
        """As what the model is run, and why that is less than was wanted, if it is."""
        return self.choice, self.degraded

    @property
    def degraded(self) -> str | None:
        assert self.supervisor.serving is not None
        return self.supervisor.serving.degraded


def now() -> float:
    """The loop's clock, seconds."""
    return asyncio.get_running_loop().time()


async def until_asked(worker: FakeWorker, count: int) -> None:
    """Return when the worker has been given so many pictures."""
    while len(worker.asked) < count:
        await asyncio.sleep(0.001)
