"""A new model takes over from an old one, or fails to, and no picture notices."""

from __future__ import annotations

import asyncio

import pytest

from appliance.inference.supervisor import Counters, InferenceLimits
from models.errors import (
    ModelFailed,
    ModelUpdating,
)
from tests.support.fake_runtime import Socket
from tests.support.fake_workers import a_bundle
from tests.support.supervised import CORAL, CPU, SOCKETIO, TPU, now
from tests.support.supervised import SupervisedBox as Box
from tests.support.virtual_time import in_virtual_time

EXCLUSIVE = InferenceLimits(exclusive=True)
"""One accelerator, little memory: the old model is freed before the new one is loaded."""


@in_virtual_time
async def test_a_new_model_is_loaded_beside_the_old_one_and_takes_over() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        old = box.worker
        old.seconds = 0.4
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.9)
        under_way = [box.ask(f"before {number}") for number in range(3)]
        await loading
        assert box.worker is not old
        after = box.ask("after")
        assert await asyncio.gather(*under_way, after) == ["before 0", "before 1", "before 2", "after"]
        assert old.looked_at == ["before 0", "before 1", "before 2"]
        assert box.worker.looked_at == ["after"]
        await asyncio.sleep(0.01)
        assert box.workshop.alive == [box.worker]
        assert box.supervisor.counters == Counters(swaps=1)
        assert box.supervisor.serving is not None
        assert box.supervisor.serving.bundle.model.version == "2.0"


@in_virtual_time
async def test_a_new_model_that_fails_leaves_the_old_one_serving() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        box.workshop.refuse = lambda order: ModelFailed("unresolved custom op")
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        assert await box.ask("cat") == "cat"
        with pytest.raises(ModelFailed, match=r"does not load as coral/cpu/2: unresolved custom op"):
            await loading
        assert box.supervisor.serving is not None
        assert box.supervisor.serving.bundle.model.version == "1.0"
        assert await box.ask("dog") == "dog"
        assert box.supervisor.counters == Counters()


@in_virtual_time
async def test_a_new_model_that_nobody_wants_any_more_does_not_take_over() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        old = box.worker
        with pytest.raises(ModelUpdating, match=r"Model 2\.0 was called off"):
            await box.supervisor.load(a_bundle("2.0"), still_wanted=lambda: False)
        assert box.worker is old
        assert box.workshop.alive == [old]
        assert await box.ask("cat") == "cat"


@in_virtual_time
async def test_exclusive_a_new_model_that_nobody_wants_any_more_brings_the_old_one_back() -> None:
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        with pytest.raises(ModelUpdating):
            await box.supervisor.load(a_bundle("2.0"), still_wanted=lambda: False)
        assert await box.ask("cat") == "cat"
        assert box.supervisor.serving is not None
        assert box.supervisor.serving.bundle.model.version == "1.0"


@in_virtual_time
async def test_a_reload_interrupts_nothing() -> None:
    async with Box() as box:
        await box.load()
        old = box.worker
        reloading = asyncio.create_task(box.supervisor.reload())
        texts = [f"picture {number}" for number in range(30)]
        tasks = []
        for text in texts:
            tasks.append(box.ask(text))
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*tasks) == texts
        await reloading
        assert box.worker is not old
        assert box.supervisor.counters == Counters(swaps=1)


@in_virtual_time
async def test_a_reload_without_a_model_does_nothing() -> None:
    async with Box() as box:
        await box.supervisor.reload()
        assert box.workshop.orders == []


@in_virtual_time
async def test_an_old_worker_that_dies_on_its_way_out_takes_nothing_along() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        old = box.worker
        old.seconds = 5.0
        tasks = [box.ask(f"picture {number}") for number in range(3)]
        await box.load(a_bundle("2.0"))
        old.die()
        assert await asyncio.gather(*tasks) == ["picture 0", "picture 1", "picture 2"]
        assert box.supervisor.counters == Counters(swaps=1, retries=3)  # nobody had to be replaced


@in_virtual_time
async def test_a_worker_that_dies_while_a_new_model_loads_is_replaced_until_that_is_ready() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        box.workshop.load_seconds = 5.0
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.5)
        box.workshop.load_seconds = 1.0
        box.worker.die()
        assert await box.ask("cat") == "cat"  # by another worker of the old model
        assert box.worker.order.folder == "model-1.0"
        await loading
        assert box.worker.order.folder == "model-2.0"
        await asyncio.sleep(0.01)
        assert box.workshop.alive == [box.worker]


@in_virtual_time
async def test_a_replacement_that_is_not_needed_any_more_is_given_up_at_once() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.5)
        box.workshop.load_seconds = 30.0
        box.worker.die()
        await loading
        await asyncio.sleep(0.01)
        assert box.workshop.starting == 0
        assert box.workshop.alive == [box.worker]


@in_virtual_time
async def test_a_replacement_goes_on_when_the_new_model_fails() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        box.workshop.refuse = lambda order: ModelFailed("too large") if order.folder == "model-2.0" else None
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.5)
        box.worker.die()
        died = now()
        assert await box.ask("cat") == "cat"
        assert now() - died == pytest.approx(1.05)  # loading, looking, and nothing begun twice
        with pytest.raises(ModelFailed):
            await loading


@in_virtual_time
async def test_a_model_that_dies_at_once_after_its_predecessor_died_is_replaced_without_delay() -> None:
    """The old model's replacement still pauses when the new model's worker needs one."""
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        for _ in range(8):
            box.worker.die()
            await asyncio.sleep(40.0)
        box.worker.die()
        await asyncio.sleep(0.1)  # 30 s of pause begin
        await box.load(a_bundle("2.0"))
        box.worker.die()
        began = now()
        assert await box.ask("cat") == "cat"
        assert now() - began < 2.0
        assert box.worker.order.folder == "model-2.0"


@in_virtual_time
async def test_who_gives_up_waiting_for_a_model_leaves_no_worker_behind() -> None:
    async with Box() as box:
        await box.load(a_bundle("1.0"))
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.5)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        assert box.workshop.alive == [box.worker]
        assert await box.ask("cat") == "cat"
        await box.load(a_bundle("3.0"))
        assert await box.ask("dog") == "dog"


@in_virtual_time
async def test_exclusive_the_old_model_is_freed_before_the_new_one_is_loaded() -> None:
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        assert box.supervisor.updating_to is None
        old = box.worker
        under_way = box.ask("cat")
        await asyncio.sleep(0.01)
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.1)
        assert await under_way == "cat"
        assert not old.alive
        assert box.workshop.beside == [0, 0]  # the new one is started when the old one is gone, and not before
        assert box.supervisor.updating_to == "2.0"
        with pytest.raises(ModelUpdating, match=r"^updating model to version 2\.0$") as refused:
            await box.ask("dog")
        assert refused.value.retry_after > 0
        await loading
        assert box.supervisor.updating_to is None
        assert await box.ask("dog") == "dog"


@in_virtual_time
async def test_exclusive_pictures_that_wait_are_told_of_the_update_when_their_time_is_over() -> None:
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        box.worker.seconds = 1.0
        box.workshop.load_seconds = 30.0
        tasks = [box.ask(f"picture {number}", SOCKETIO) for number in range(5)]
        await asyncio.sleep(0.01)
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[:3] == ["picture 0", "picture 1", "picture 2"]
        assert [str(outcome) for outcome in outcomes[3:]] == ["updating model to version 2.0"] * 2
        assert all(isinstance(outcome, ModelUpdating) for outcome in outcomes[3:])
        await loading


@in_virtual_time
async def test_exclusive_a_new_model_that_fails_brings_the_old_one_back() -> None:
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        box.workshop.refuse = lambda order: ModelFailed("too large") if order.folder == "model-2.0" else None
        with pytest.raises(ModelFailed, match="too large"):
            await box.load(a_bundle("2.0"))
        assert box.supervisor.updating_to is None
        assert await box.ask("cat") == "cat"
        assert box.worker.order.folder == "model-1.0"
        assert [order.folder for order in box.workshop.orders] == ["model-1.0", "model-2.0", "model-1.0"]


@in_virtual_time
async def test_exclusive_who_gives_up_waiting_gets_the_old_model_back() -> None:
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0")))
        await asyncio.sleep(0.5)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        assert await box.ask("cat") == "cat"
        assert box.worker.order.folder == "model-1.0"


@in_virtual_time
async def test_exclusive_a_new_model_can_follow_one_that_failed() -> None:
    """While the old model comes back, the next one is asked for: never two workers at a time."""
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        box.workshop.refuse = lambda order: ModelFailed("too large") if order.folder == "model-2.0" else None
        with pytest.raises(ModelFailed):
            await box.load(a_bundle("2.0"))
        await asyncio.sleep(0.5)  # half of the time that the old model needs
        await box.load(a_bundle("3.0"))
        assert box.workshop.alive == [box.worker]
        assert box.worker.order.folder == "model-3.0"
        await asyncio.sleep(60.0)
        assert box.workshop.alive == [box.worker]


@in_virtual_time
async def test_exclusive_a_replacement_that_is_under_way_makes_room_at_once() -> None:
    async with Box(limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0"))
        box.workshop.load_seconds = 30.0
        box.worker.die()
        await asyncio.sleep(1.0)
        began = now()
        await box.load(a_bundle("2.0"))
        assert now() - began == pytest.approx(30.0)
        await asyncio.sleep(60.0)
        assert box.workshop.alive == [box.worker]


@in_virtual_time
async def test_exclusive_the_cpu_bridges_while_the_accelerator_changes_hands() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU, limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0", *CORAL))
        loading = asyncio.create_task(box.supervisor.load(a_bundle("2.0", *CORAL)))
        await asyncio.sleep(1.5)
        assert (box.worker.order.folder, box.choice) == ("model-1.0", CPU)
        assert box.degraded == f"The accelerator is wanted for model 2.0. Detecting as {CPU}."
        assert await box.ask("cat") == "cat"
        assert box.supervisor.updating_to is None
        await loading
        assert (box.worker.order.folder, *box.how()) == ("model-2.0", TPU, None)
        await asyncio.sleep(0.01)
        assert [worker.choice for worker in box.workshop.alive] == [TPU]


@in_virtual_time
async def test_exclusive_a_failure_brings_the_old_model_back_from_the_bridge() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU, limits=EXCLUSIVE) as box:
        await box.load(a_bundle("1.0", *CORAL))
        box.workshop.refuse = lambda order: ModelFailed("no") if order.folder == "model-2.0" else None
        with pytest.raises(ModelFailed):
            await box.load(a_bundle("2.0", *CORAL))
        assert await box.ask("cat") == "cat"
        assert (box.worker.order.folder, box.choice) == ("model-1.0", CPU)
        await asyncio.sleep(20.0)
        assert (box.worker.order.folder, *box.how()) == ("model-1.0", TPU, None)
        assert box.workshop.alive == [box.worker]
