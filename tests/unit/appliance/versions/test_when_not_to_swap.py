"""Operation mode, update lock and pause: no swap happens that somebody does not want now."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.versions.lock import MAX_SECONDS
from models.errors import InvalidInput
from tests.support.looped_box import LoopedBox
from tests.support.scripted_loop import ScriptedLoop
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_while_the_robot_detects_nothing_is_swapped_but_all_is_prepared(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        box.versions.set_operation_mode("detecting")
        loop.publish("1.0")
        await box.until(lambda: box.state == "postponed")
        assert loop.downloads("1.0") == 1
        assert "operation mode is detecting" in str(box.versions.update.sentence)
        await asyncio.sleep(3600)
        assert box.supervisor.version == "0.0"
        box.versions.set_operation_mode("idle")
        assert await box.serves("1.0") < 1


@in_virtual_time
async def test_the_update_lock_postpones_the_swap_and_ends_by_itself(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        box.versions.lock.hold(600)
        loop.publish("1.0")
        await box.until(lambda: box.state == "postponed")
        await asyncio.sleep(300)
        assert box.supervisor.version == "0.0"
        assert 200 < box.versions.lock.seconds_left < 300
        assert 200 < await box.serves("1.0", seconds=301) < 301


@in_virtual_time
async def test_a_lock_that_is_taken_back_lets_the_swap_happen_at_once(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        box.versions.lock.hold(MAX_SECONDS)
        loop.publish("1.0")
        await box.until(lambda: box.state == "postponed")
        box.versions.lock.release()
        assert await box.serves("1.0") < 1


@pytest.mark.parametrize("seconds", [-1, MAX_SECONDS + 1, float("nan"), float("inf")])
@in_virtual_time
async def test_no_lock_is_held_for_ever(tmp_path: Path, loop: ScriptedLoop, seconds: float) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        with pytest.raises(InvalidInput, match="0 to 86400 seconds"):
            box.versions.lock.hold(seconds)
        assert box.versions.lock.seconds_left == 0


@pytest.mark.parametrize("how", ["lock", "detecting", "paused"])
@in_virtual_time
async def test_no_swap_happens_once_it_is_forbidden_though_the_model_was_loading(
    tmp_path: Path, loop: ScriptedLoop, how: str
) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        box.supervisor.seconds = 10
        await box.until(lambda: box.state == "loading")
        if how == "lock":
            box.versions.lock.hold(100)
        elif how == "detecting":
            box.versions.set_operation_mode("detecting")
        else:
            box.versions.set_paused(True)
        await asyncio.sleep(60)
        assert (box.supervisor.loaded, box.versions.error) == (["0.0"], None)
        box.versions.lock.release()
        box.versions.set_operation_mode("idle")
        box.versions.set_paused(False)
        await box.serves("1.0")


@in_virtual_time
async def test_a_paused_box_asks_nobody(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: box.connection.condition.state == "connected")
        box.versions.set_paused(True)
        asked = len(loop.asked)
        loop.publish("1.0")
        await asyncio.sleep(600)
        assert len(loop.asked) == asked
        assert box.connection.in_words()["state"] == "off"
        box.versions.set_paused(False)
        assert await box.serves("1.0") < 2
        assert box.connection.condition.state == "connected"


@in_virtual_time
async def test_the_mode_pause_keeps_what_serves_and_tells_what_the_loop_wants(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        await box.versions.set_mode("pause")
        loop.publish("1.0")
        await asyncio.sleep(60)
        told = await box.versions.response()
        assert (told.current_version, told.target_version, told.loop_version) == ("0.0", "None", "1.0")
        assert loop.downloads("1.0") == 0
        await box.versions.set_mode("follow_loop")
        await box.serves("1.0")


@in_virtual_time
async def test_a_lock_that_is_granted_at_the_very_last_moment_holds(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        box.supervisor.at_last = lambda: box.versions.lock.hold(100)
        await box.until(lambda: box.versions.lock.seconds_left > 0)
        await asyncio.sleep(50)
        assert (box.supervisor.loaded, box.versions.error, box.state) == (["0.0"], None, "postponed")
        box.supervisor.at_last = lambda: None
        await box.serves("1.0")
