"""Accelerators that are pulled out, hang or were never there: the CPU steps in, and steps back."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import ModelFailed
from tests.support.fake_runtime import Socket
from tests.support.fake_workers import a_bundle
from tests.support.supervised import CORAL, CPU, TPU, now
from tests.support.supervised import SupervisedBox as Box
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_an_accelerator_that_is_pulled_out_is_replaced_by_the_cpu_and_returned_to() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        assert box.how() == (TPU, None)
        Socket.plugged_in.clear()
        assert await box.ask_all("faint", "cat") == ["faint", "cat"]  # its runtime fails, and so the worker goes
        assert box.choice == CPU
        assert box.degraded is not None
        assert box.degraded.startswith(f"Its worker ({TPU}) died.")
        assert box.degraded.endswith(f"Detecting as {CPU}.")
        await asyncio.sleep(300.0)
        assert box.choice == CPU
        assert len(box.workshop.orders) == 2  # looking costs next to nothing: nothing was started for it
        Socket.plugged_in.add("edgetpu")
        returning = [box.ask(f"picture {number}") for number in range(4)]
        await asyncio.sleep(11.5)
        assert box.how() == (TPU, None)
        assert await asyncio.gather(*returning) == [f"picture {number}" for number in range(4)]
        assert [worker.choice for worker in box.workshop.alive] == [TPU]


@in_virtual_time
async def test_one_death_on_an_accelerator_that_is_there_does_not_abandon_it() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        await box.ask_all("poison")
        await asyncio.sleep(1.5)
        assert box.how() == (TPU, None)


@in_virtual_time
async def test_an_accelerator_that_kills_its_workers_is_left_alone_for_longer_each_time() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        box.workshop.load_seconds = 0.0
        await box.load(a_bundle("1.0", *CORAL))
        spells = []
        for _ in range(4):
            while box.choice == TPU:
                box.worker.die()
                await asyncio.sleep(0.01)
            began = now()
            while box.choice != TPU:
                await asyncio.sleep(0.5)
            spells.append(round(now() - began))
        assert spells == [10, 20, 40, 80]
        assert box.unfit == []


@in_virtual_time
async def test_an_accelerator_that_is_there_but_does_not_work_is_asked_less_and_less_often() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        box.workshop.load_seconds = 0.0
        box.workshop.refuse = lambda order: ModelFailed("another program uses it") if order.choice == TPU else None
        await box.load(a_bundle("1.0", *CORAL))
        assert box.degraded == f"It does not load as {TPU}: another program uses it. Detecting as {CPU}."
        await asyncio.sleep(10.0 + 20.0 + 40.0 + 80.0 + 1.0)
        assert box.workshop.choices == [TPU, CPU, TPU, TPU, TPU, TPU]
        box.workshop.refuse = lambda order: None
        await asyncio.sleep(160.0)
        assert box.how() == (TPU, None)


@in_virtual_time
async def test_an_accelerator_that_was_lost_before_the_start_is_returned_to() -> None:
    async with Box(CPU, lost=TPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        assert box.degraded == f"edgetpu ran this model before and is gone. Detecting as {CPU}."
        Socket.plugged_in.add("edgetpu")
        await asyncio.sleep(12.0)
        assert box.how() == (TPU, None)
        Socket.plugged_in.clear()
        box.worker.die()  # and lost once more
        assert await box.ask("cat") == "cat"
        assert box.choice == CPU


@in_virtual_time
async def test_an_accelerator_that_the_settings_ask_for_and_is_not_there_is_returned_to() -> None:
    async with Box(wanted="coral/edgetpu") as box:
        box.chooser.error = ModelFailed("no Edge TPU is plugged in")
        await box.load(a_bundle("1.0", *CORAL))
        assert box.choice.startswith("coral/cpu/")
        assert box.degraded is not None
        assert box.degraded.startswith(
            "It cannot be run as coral/edgetpu, which the settings ask for: no Edge TPU is plugged in."
        )
        Socket.plugged_in.add("edgetpu")
        await asyncio.sleep(12.0)
        assert box.how() == (TPU, None)


@in_virtual_time
async def test_an_accelerator_that_hangs_while_it_loads_again_is_given_up_soon() -> None:
    """It took a second before: nobody waits two minutes for it now, with the CPU at hand."""
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        box.worker.die()
        await asyncio.sleep(1.5)
        assert box.workshop.deadlines == [120.0, 20.0]


@in_virtual_time
async def test_a_runtime_that_cannot_even_be_asked_counts_as_gone() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        Socket.broken = True
        box.worker.die()
        assert await box.ask("cat") == "cat"
        assert box.choice == CPU


@in_virtual_time
async def test_nobody_looks_for_an_accelerator_once_another_model_serves() -> None:
    async with Box(CPU, lost=TPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        box.chooser.lost = None
        await box.load(a_bundle("2.0"))
        await asyncio.sleep(30.0)
        looks = Socket.looks
        await asyncio.sleep(300.0)
        assert Socket.looks == looks


@in_virtual_time
async def test_an_accelerator_that_has_proven_itself_starts_with_a_clean_slate() -> None:
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        box.workshop.load_seconds = 0.0
        await box.load(a_bundle("1.0", *CORAL))
        for _ in range(3):
            for _ in range(3):
                box.worker.die()
                await asyncio.sleep(0.01)
            assert box.choice == CPU
            await asyncio.sleep(10.5)
            assert box.choice == TPU
            await box.ask_all(*(f"picture {number}" for number in range(20)))


@in_virtual_time
async def test_an_accelerator_that_was_broken_and_is_replaced_is_found_soon() -> None:
    """While it was there and failed it was asked seldom; once it is gone it is looked for as often as any other."""
    Socket.plugged_in.add("edgetpu")
    async with Box(TPU, CPU) as box:
        box.workshop.load_seconds = 0.0
        box.workshop.refuse = lambda order: ModelFailed("broken") if order.choice == TPU else None
        await box.load(a_bundle("1.0", *CORAL))
        await asyncio.sleep(10.0 + 20.0 + 40.0 + 1.0)
        Socket.plugged_in.clear()
        await asyncio.sleep(80.0)
        box.workshop.refuse = lambda order: None
        Socket.plugged_in.add("edgetpu")
        await asyncio.sleep(11.0)
        assert box.choice == TPU


@in_virtual_time
async def test_an_accelerator_returns_while_the_cpu_s_worker_is_being_replaced() -> None:
    """Both are started; whoever comes second is not needed."""
    async with Box(CPU, lost=TPU) as box:
        await box.load(a_bundle("1.0", *CORAL))
        Socket.plugged_in.add("edgetpu")
        await asyncio.sleep(10.5)
        box.worker.die()
        await asyncio.sleep(5.0)
        assert box.workshop.choices == [CPU, TPU, CPU]
        assert box.workshop.alive == [box.worker]
        assert box.choice == TPU


@in_virtual_time
async def test_a_pause_for_the_cpu_s_worker_does_not_delay_the_accelerator_s() -> None:
    async with Box(CPU, lost=TPU) as box:
        box.workshop.load_seconds = 0.0
        await box.load(a_bundle("1.0", *CORAL))
        for pause in (0.0, 0.0, 0.0, 1.0, 2.0, 4.0):
            box.worker.die()
            await asyncio.sleep(pause + 0.1)
        Socket.plugged_in.add("edgetpu")
        box.worker.die()  # 8 s of pause begin
        await asyncio.sleep(3.0)
        assert box.choice == TPU
        box.workshop.load_seconds = 10.0
        orders = len(box.workshop.orders)
        box.worker.die()
        began = now()
        assert await box.ask("cat", 60.0) == "cat"
        assert now() - began == pytest.approx(10.05)
        await asyncio.sleep(60.0)
        assert len(box.workshop.orders) == orders + 1
        assert box.workshop.alive == [box.worker]


@in_virtual_time
async def test_tensorrt_is_given_the_time_to_compile() -> None:
    async with Box("coral/tensorrt/1", CPU) as box:
        await box.load(a_bundle("1.0", ("coral", "any")))
        assert box.workshop.deadlines == [1800.0]
