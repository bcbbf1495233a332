"""Something that is done to many pictures, step by step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from appliance.dashboard.long_work import Worker
from models.errors import DetectorApplianceError, StorageRefused


async def until_over(worker: Worker) -> None:
    while worker.state is not None and worker.state.running:
        await asyncio.sleep(0.01)


def test_it_goes_on_in_threads_and_says_how_far_it_is() -> None:
    steps_done, go_on = threading.Event(), threading.Event()

    def steps() -> Iterator[int]:
        yield 10
        steps_done.set()
        assert go_on.wait(30)
        yield 30

    async def story() -> None:
        changes: list[bool] = []
        worker = Worker(lambda: changes.append(worker.state is not None and worker.state.running))
        assert worker.state is None
        worker.begin("delete", steps(), 20)
        await asyncio.to_thread(steps_done.wait, 30)
        assert worker.state is not None
        assert (worker.state.done, worker.state.total, worker.state.running) == (10, 20, True)
        with pytest.raises(DetectorApplianceError, match="not done yet"):
            worker.begin("retry", iter([1]), 1)
        go_on.set()
        await until_over(worker)
        assert (worker.state.done, worker.state.error, worker.state.kind) == (30, None, "delete")
        assert changes == [True, False]

        worker.begin("retry", iter([1]), 1)
        await until_over(worker)
        assert (worker.state.number, worker.state.done) == (2, 1)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "words"),
    [(StorageRefused("The disk is gone."), "The disk is gone."), (ValueError("a bug"), "the log tells more")],
)
def test_what_goes_wrong_is_told_and_the_next_can_begin(error: Exception, words: str) -> None:
    def steps() -> Iterator[int]:
        yield 5
        raise error

    async def story() -> None:
        worker = Worker(lambda: None)
        worker.begin("delete", steps(), 10)
        await until_over(worker)
        assert worker.state is not None
        assert worker.state.done == 5
        assert words in str(worker.state.error)
        worker.begin("delete", iter([1]), 1)
        await until_over(worker)
        assert worker.state.error is None

    asyncio.run(story())
