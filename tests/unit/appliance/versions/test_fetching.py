"""Models on their way from the Loop to the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from appliance.versions.service import Bounds
from tests.support.looped_box import MIB, LoopedBox
from tests.support.scripted_loop import AWAY, ScriptedLoop, folder_of_files, zipped
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_download_shows_how_far_it_is_and_goes_on_where_it_broke_off(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    content = zipped("1.0", size=8 * MIB)
    loop.offer("1.0", content)
    loop.deploy("1.0")
    loop.breaks_after = 5 * MIB
    loop.seconds_per_piece = 0.01
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: (box.versions.update.progress or 0) > 0.3)
        assert (box.state, box.versions.update.format) == ("downloading", "litert")
        await box.until(lambda: box.versions.error is not None)
        assert "Model 1.0 cannot be downloaded" in str(box.versions.error)
        assert "broke off" in str(box.versions.error)
        loop.breaks_after = None
        await box.serves("1.0")
        assert loop.sent < len(content) + MIB, "what had come was not sent again"
        assert box.versions.error is None


@in_virtual_time
async def test_a_download_goes_on_after_a_restart(tmp_path: Path, loop: ScriptedLoop) -> None:
    content = zipped("1.0", size=8 * MIB)
    loop.offer("1.0", content)
    loop.deploy("1.0")
    loop.seconds_per_piece = 0.01
    box = LoopedBox(tmp_path, loop)
    async with box:
        await box.until(lambda: (box.versions.update.progress or 0) > 0.5)
    async with box:
        await box.serves("1.0")
    assert loop.sent < len(content) + MIB


@in_virtual_time
async def test_a_target_that_changes_during_a_download_is_followed_at_once(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0", size=MIB)
    loop.publish("1.1", deploy=False)
    loop.seconds_per_piece = 60
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: box.state == "downloading")
        loop.seconds_per_piece = 0
        loop.deploy("1.1")
        await box.serves("1.1", seconds=10)
        assert not list((tmp_path / "data" / "downloads").iterdir()), "what was begun in vain is gone"


@in_virtual_time
async def test_a_download_that_cannot_be_had_is_tried_ever_more_slowly_and_never_called_failed_for_good(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    loop.file_answer = lambda request: httpx.Response(500, json={"detail": "out of order"})
    async with LoopedBox(tmp_path, loop) as box:
        await asyncio.sleep(3600)
        assert "out of order" in str(box.versions.error)
        assert box.state == "failed"
        assert loop.downloads("1.0") < 25
        assert box.versions.state.failures == ()
        loop.file_answer = None
        await box.serves("1.0", seconds=301)


@in_virtual_time
async def test_a_loop_that_names_a_time_is_not_asked_before(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    loop.file_answer = lambda request: httpx.Response(429, headers={"retry-after": "900"})
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: loop.downloads("1.0") == 1)
        await asyncio.sleep(880)
        assert loop.downloads("1.0") == 1
        loop.file_answer = None
        await box.serves("1.0", seconds=30)


@in_virtual_time
async def test_a_model_for_which_there_is_no_room_is_not_downloaded(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0", size=3 * MIB)
    async with LoopedBox(tmp_path, loop, bounds=Bounds(3, 2 * MIB, 0)) as box:
        await box.until(lambda: box.versions.error is not None)
        assert "no room for model 1.0, which has 3.0 MiB" in str(box.versions.error)
        await asyncio.sleep(3600)
        assert (loop.downloads("1.0"), loop.sent) == (0, 0)


@in_virtual_time
async def test_a_model_of_unknown_size_for_which_there_is_no_room_leaves_nothing(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0", size=3 * MIB)
    loop.tells_what_it_has = False
    async with LoopedBox(tmp_path, loop, bounds=Bounds(3, 2 * MIB, 0)) as box:
        await box.until(lambda: box.versions.error is not None)
        assert "larger than the 2 MiB that there is room for" in str(box.versions.error)
        assert "cannot be stored" in str(box.versions.error)
        assert folder_of_files(tmp_path / "data" / "downloads") == {}


@in_virtual_time
async def test_a_download_does_not_mind_that_the_loop_was_silent_for_a_moment(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0", size=8 * MIB)
    loop.seconds_per_piece = 0.1
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: box.state == "downloading")
        loop.away = AWAY
        await box.until(lambda: box.connection.condition.state == "away")
        assert box.state == "downloading"
        await box.serves("1.0", seconds=120)
        assert loop.downloads("1.0") == 1
        assert box.connection.condition.state == "away"


@in_virtual_time
async def test_downloads_that_were_given_up_do_not_pile_up(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.seconds_per_piece = 60
    async with LoopedBox(tmp_path, loop) as box:
        for version in ("1.0", "1.1", "1.2"):
            loop.publish(version, size=MIB)
            await box.until(lambda version=version: loop.downloads(version) == 1)  # type: ignore[misc]  # bound at once
            await asyncio.sleep(1)
        zips = [name for name in folder_of_files(tmp_path / "data" / "downloads") if name.endswith(".zip")]
        assert len(zips) == 1
