"""A version that somebody chose, here or in the Loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from models.errors import UnknownVersion
from tests.support.looped_box import LoopedBox
from tests.support.scripted_loop import AWAY, ScriptedLoop
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_version_that_is_not_here_is_fetched_from_the_loop(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    loop.publish("1.2", deploy=False)
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        await box.versions.set_mode("1.2")
        told = await box.versions.response()
        assert (told.target_version, told.version_control) == ("1.2", "specific_version")
        await box.serves("1.2")
        await asyncio.sleep(60)
        assert box.supervisor.version == "1.2"
    async with box:
        await box.serves("1.2")
        await asyncio.sleep(60)
        assert (box.supervisor.version, box.versions.state.mode) == ("1.2", "specific_version")


@in_virtual_time
async def test_a_version_on_disk_needs_no_loop(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        await box.prove()
        loop.publish("1.1")
        await box.serves("1.1")
        loop.away = AWAY
        await box.versions.set_mode("1.0")
        assert await box.serves("1.0") < 1


@pytest.mark.parametrize(
    ("version", "away", "sentence"),
    [
        ("9.9", None, "neither on this box nor in the Loop"),
        ("newest", None, "neither follow_loop nor pause nor a version"),
        ("1.0", AWAY, "the Loop cannot be asked for it"),
        ("1.0", httpx.ReadTimeout("slow"), "the Loop cannot be asked for it"),
        ("acme/kitchens/1.0", None, "is not on this box"),
    ],
)
@in_virtual_time
async def test_a_version_that_cannot_be_had_changes_nothing(
    tmp_path: Path, loop: ScriptedLoop, version: str, away: Exception | None, sentence: str
) -> None:
    loop.publish("1.0", deploy=False)
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: box.connection.condition.state == "connected")
        before = await box.versions.response()
        loop.away = away
        with pytest.raises(UnknownVersion, match=sentence):
            await box.versions.set_mode(version)
        assert await box.versions.response() == before


@in_virtual_time
async def test_a_version_that_the_loop_has_twice_is_refused(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0", deploy=False)
    loop.models.append({**loop.models[0], "id": "another"})
    async with LoopedBox(tmp_path, loop) as box:
        with pytest.raises(UnknownVersion, match=r"has 2 models of version 1\.0"):
            await box.versions.set_mode("1.0")


@in_virtual_time
async def test_a_loop_that_does_not_answer_a_person_in_time_is_not_waited_for(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0", deploy=False)
    async with LoopedBox(tmp_path, loop) as box:

        async def never(*_: object) -> list[object]:
            await asyncio.sleep(1000)
            return []

        box.versions._loop.models = never  # type: ignore[union-attr, method-assign] # one call of a real client
        start = asyncio.get_running_loop().time()
        with pytest.raises(UnknownVersion, match="did not answer within 10 s"):
            await box.versions.set_mode("1.0")
        assert asyncio.get_running_loop().time() - start == pytest.approx(10)


@in_virtual_time
async def test_a_chosen_version_is_fetched_after_a_restart_during_which_the_loop_was_away(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0", deploy=False)
    box = LoopedBox(tmp_path, loop)
    async with box:
        loop.seconds_per_piece = 1000
        await box.versions.set_mode("1.0")
        await box.until(lambda: box.state == "downloading")
    loop.away, loop.seconds_per_piece = AWAY, 0
    async with box:
        await asyncio.sleep(60)
        assert (box.state, box.versions.error) == ("waiting_for_loop", None)
        told = await box.versions.response()
        assert (told.current_version, told.target_version) == ("0.0", "1.0")
        loop.away = None
        await box.serves("1.0", seconds=120)


@in_virtual_time
async def test_the_default_of_the_settings_may_name_a_version_in_the_loop(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    loop.publish("1.1", deploy=False)
    async with LoopedBox(tmp_path, loop, default_mode="1.1") as box:
        await box.serves("1.1")
        assert loop.downloads("1.0") == 0
