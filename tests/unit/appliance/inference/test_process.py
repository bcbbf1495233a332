"""One worker as the server sees it: it becomes ready or says why not, and answers each picture or is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.inference.child import Child
from appliance.inference.process import WorkerProcess, error_of
from appliance.inference.worker import WorkerOrder
from models.errors import BundleError, DetectorApplianceError, ModelFailed, WorkerLost
from tests.support.fake_child import FakeProcess
from tests.support.virtual_time import in_virtual_time

ORDER = WorkerOrder(
    folder="model", choice="litert/cpu/2", cache="cache", floor=0.3, lanes=2, max_bytes=10**6, max_pixels=10**7
)
READY = {"ready": {"choice": "litert/cpu/2/int8.tflite", "load_ms": 120.0, "warm_up_ms": 30.0}}


def starting(process: FakeProcess) -> Any:
    async def start(module: str) -> Child:
        assert module == "appliance.inference.worker"
        return process.child

    return start


async def a_worker(process: FakeProcess) -> WorkerProcess:
    """One that is ready."""
    process.on_message(lambda message: process.say(READY) if "folder" in message else None)
    return await WorkerProcess.launch(ORDER, 10.0, start=starting(process))


async def a_moment() -> None:
    await asyncio.sleep(0.01)


@in_virtual_time
async def test_it_is_told_what_to_load_and_says_how_it_did() -> None:
    process = FakeProcess()
    worker = await a_worker(process)
    assert process.heard == [
        {
            "folder": "model",
            "choice": "litert/cpu/2",
            "cache": "cache",
            "floor": 0.3,
            "lanes": 2,
            "max_bytes": 10**6,
            "max_pixels": 10**7,
        }
    ]
    assert (worker.choice, worker.load_ms, worker.warm_up_ms) == ("litert/cpu/2/int8.tflite", 120.0, 30.0)
    assert worker.accepting
    await worker.stop()


@in_virtual_time
async def test_what_is_wrong_with_the_model_is_told_as_the_worker_said_it() -> None:
    process = FakeProcess()
    process.on_message(lambda message: process.say({"failed": "BundleError", "message": "model.json lacks 'head'"}))
    with pytest.raises(BundleError, match=r"^model\.json lacks 'head'$"):
        await WorkerProcess.launch(ORDER, 10.0, start=starting(process))
    assert not process.alive


@in_virtual_time
async def test_one_that_dies_while_loading_tells_its_last_words() -> None:
    process = FakeProcess()

    def die(_: dict[str, Any]) -> None:
        process.cry(b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        process.end(-6)

    process.on_message(die)
    with pytest.raises(ModelFailed, match=r"died while loading it\. It was ended by signal 6\. .*std::bad_alloc"):
        await WorkerProcess.launch(ORDER, 10.0, start=starting(process))


@in_virtual_time
async def test_one_that_is_dead_before_it_is_told_anything() -> None:
    process = FakeProcess()
    process.end(1)
    with pytest.raises(ModelFailed, match="exit status 1"):
        await WorkerProcess.launch(ORDER, 10.0, start=starting(process))


@in_virtual_time
async def test_one_that_never_becomes_ready_is_ended() -> None:
    process = FakeProcess(polite=False)
    with pytest.raises(ModelFailed, match="did not load within 10 s"):
        await WorkerProcess.launch(ORDER, 10.0, start=starting(process))
    assert not process.alive


@in_virtual_time
async def test_who_stops_waiting_for_it_leaves_no_process_behind() -> None:
    process = FakeProcess(polite=False)
    launching = asyncio.create_task(WorkerProcess.launch(ORDER, 10.0, start=starting(process)))
    await asyncio.sleep(1.0)
    launching.cancel()
    await asyncio.gather(launching, return_exceptions=True)
    assert launching.cancelled()
    assert not process.alive


@in_virtual_time
async def test_pictures_are_answered_in_whatever_order_they_are_done() -> None:
    process = FakeProcess()
    worker = await a_worker(process)
    first, second = worker.ask({}, b"one"), worker.ask({"raw": {"dtype": "uint8", "shape": [1, 1, 3]}}, b"two")
    assert worker.busy == 2
    await a_moment()
    sent = [(message["id"], message.get("raw")) for message in process.heard[1:]]
    assert sent == [(0, None), (1, {"dtype": "uint8", "shape": [1, 1, 3]})]
    process.say({"id": 1, "width": 2})
    assert await second == {"id": 1, "width": 2}
    assert (worker.busy, first.done()) == (1, False)
    process.say({"id": 0, "width": 1})
    assert await first == {"id": 0, "width": 1}
    assert worker.busy == 0
    await worker.stop()


@in_virtual_time
async def test_when_it_dies_that_is_seen_before_its_pictures_are_given_back() -> None:
    """Who tries a picture again must not try it with the worker that has just died."""
    process = FakeProcess()
    worker = await a_worker(process)
    seen: list[str] = []
    answers = [worker.ask({}, b"one"), worker.ask({}, b"two"), worker.ask({}, b"three")]
    worker.gone.add_done_callback(lambda _: seen.append("gone"))
    for answer in answers:
        answer.add_done_callback(lambda done: seen.append(f"{answers.index(done)}: {done.exception()!r}"))
    process.say({"id": 1})
    process.end(-9)
    await asyncio.wait(answers)
    await a_moment()
    lost = "WorkerLost('The inference worker died')"
    assert seen == ["1: None", "gone", f"0: {lost}", f"2: {lost}"]


@in_virtual_time
async def test_a_picture_that_nobody_waits_for_any_more_disturbs_nobody() -> None:
    process = FakeProcess()
    worker = await a_worker(process)
    one, two = worker.ask({}, b"one"), worker.ask({}, b"two")
    one.cancel()
    await a_moment()
    process.say({"id": 0})
    process.say({"id": 1})
    assert await two == {"id": 1}
    assert worker.busy == 0
    worker.ask({}, b"three")  # and its answer is never looked at
    await worker.stop()


@in_virtual_time
async def test_one_that_is_gone_takes_no_pictures() -> None:
    process = FakeProcess()
    worker = await a_worker(process)
    process.end(-9)
    with pytest.raises(WorkerLost, match="takes no pictures: Broken pipe"):
        worker.ask({}, b"one")
    assert (worker.accepting, worker.busy) == (False, 0)
    await worker.gone
    with pytest.raises(WorkerLost):
        worker.ask({}, b"two")


@in_virtual_time
async def test_one_that_does_not_read_is_given_up() -> None:
    """Its thread that reads has died, say: the channel fills up."""
    process = FakeProcess(polite=False)
    worker = await a_worker(process)
    asyncio.get_running_loop().remove_reader(process.theirs.fileno())
    answers: list[asyncio.Future[dict[str, Any]]] = []
    with pytest.raises(WorkerLost):
        while True:
            answers.append(worker.ask({}, b"picture"))
    assert not worker.accepting
    await asyncio.wait(answers)
    assert all(isinstance(answer.exception(), WorkerLost) for answer in answers)


@in_virtual_time
async def test_it_is_idle_when_everything_is_answered_or_nothing_ever_will_be() -> None:
    process = FakeProcess()
    worker = await a_worker(process)
    await worker.idle()
    worker.ask({}, b"one")
    waiting = asyncio.create_task(worker.idle())
    await a_moment()
    assert not waiting.done()
    process.say({"id": 0})
    await waiting
    lost = worker.ask({}, b"two")
    waiting = asyncio.create_task(worker.idle())
    await a_moment()
    worker.kill()
    await waiting
    assert isinstance(lost.exception(), WorkerLost)
    assert worker.why_it_died() == "It was ended by signal 9."


def every_error(kind: type[DetectorApplianceError]) -> list[type[DetectorApplianceError]]:
    """All that stand in the one tree; what the Loop's side makes of them for itself no worker has ever seen."""
    children = [child for child in kind.__subclasses__() if child.__module__ == DetectorApplianceError.__module__]
    return [kind, *(each for child in children for each in every_error(child))]


@pytest.mark.parametrize("kind", every_error(DetectorApplianceError))
def test_an_error_of_a_worker_is_the_same_error_here(kind: type[DetectorApplianceError]) -> None:
    error = error_of({"failed": kind.__name__, "message": "what was wrong"})
    assert (type(error), str(error)) == (kind, "what was wrong")


def test_an_error_that_is_not_known_here_is_one_of_the_model() -> None:
    assert type(error_of({"failed": "NoSuchThing", "message": "what was wrong"})) is ModelFailed


@pytest.mark.parametrize("ticks", range(6))
@in_virtual_time
async def test_being_called_off_is_heard_though_the_model_is_ready_at_that_moment(ticks: int) -> None:
    process = FakeProcess()
    launching = asyncio.create_task(WorkerProcess.launch(ORDER, 10.0, start=starting(process)))
    await asyncio.sleep(1.0)
    process.say(READY)
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_ready = launching.done()
    launching.cancel()
    await asyncio.wait([launching])
    assert launching.cancelled() or was_ready
    if was_ready:
        await launching.result().stop()
    assert not process.alive
