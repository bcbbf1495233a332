"""Models prove themselves, are gone back from, and make room."""

from __future__ import annotations

import asyncio
from pathlib import Path

from appliance.versions.service import Bounds
from appliance.versions.swapping import MAX_STARTS, PROVEN_SECONDS
from models.errors import DetectionUnavailable, ModelFailed
from tests.support.looped_box import MIB, LoopedBox
from tests.support.scripted_loop import ScriptedLoop, weights_of, zipped
from tests.support.small_bundles import make_bundle
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_model_that_kills_its_workers_is_rolled_back_and_not_taken_again(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    box = LoopedBox(tmp_path, loop)
    async with box:
        await box.serves("1.0")
        await box.prove()
        loop.publish("1.1")
        await box.serves("1.1")
        box.unfit("Its worker died 5 times in a row.")
        await box.serves("1.0")
        assert "Model 1.1 is unfit, model 1.0 serves again" in str(box.versions.error)
        await asyncio.sleep(3600)
        assert (box.supervisor.version, loop.downloads("1.1")) == ("1.0", 1)
        assert "Model 1.1 is unfit" in str(box.versions.error)
    async with box:
        await asyncio.sleep(600)
        assert (box.supervisor.loaded, loop.downloads("1.1")) == (["1.0"], 1)
        assert "died 5 times" in str(box.versions.error)
        loop.offer("1.1", zipped("1.1", weights=weights_of("1.1 corrected")))
        await box.serves("1.1", seconds=10)
        assert box.versions.error is None


@in_virtual_time
async def test_an_unfit_model_gives_way_while_the_next_is_being_downloaded(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.seconds_per_piece = 1000
        loop.publish("1.1")
        await box.until(lambda: box.state == "downloading")
        box.unfit("It dies.")
        assert await box.serves("0.0") < 2


@in_virtual_time
async def test_what_is_gone_back_to_is_what_has_proven_itself_not_what_was_there_for_a_moment(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        await box.prove()
        for version in ("1.1", "1.2"):
            loop.publish(version)
            await box.serves(version)
        box.unfit("It dies.")
        await box.serves("1.0")


@in_virtual_time
async def test_a_model_proves_itself_by_answers_or_by_time(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        assert box.versions.state.on_probation
        await asyncio.sleep(PROVEN_SECONDS / 2)
        assert box.supervisor.serving is not None
        box.supervisor.serving.deaths = 1
        await asyncio.sleep(PROVEN_SECONDS * 0.7)
        assert box.versions.state.on_probation, "its worker died meanwhile"
        assert await box.until(lambda: not box.versions.state.on_probation, PROVEN_SECONDS) > PROVEN_SECONDS * 0.1


@in_virtual_time
async def test_a_model_that_takes_the_whole_box_down_is_reverted_after_some_starts(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    box = LoopedBox(tmp_path, loop)
    async with box:
        await box.serves("1.0")
        await box.prove()
        loop.publish("1.1")
        await box.serves("1.1")
        crash(box)
    for _ in range(MAX_STARTS):
        async with box:
            assert box.supervisor.loaded == ["1.1"]
            crash(box)
    async with box:
        assert box.supervisor.loaded == ["1.0"]
        await asyncio.sleep(600)
        assert box.supervisor.loaded == ["1.0"]
        assert "The box went down 3 times while this model was on probation" in str(box.versions.error)


@in_virtual_time
async def test_restarts_in_good_order_do_not_count_against_a_model(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    box = LoopedBox(tmp_path, loop)
    async with box:
        await box.serves("1.0")
    for _ in range(MAX_STARTS + 2):
        async with box:
            assert box.supervisor.loaded == ["1.0"]
            assert box.versions.state.on_probation


def crash(box: LoopedBox) -> None:
    """What happens at the end of the program does not happen."""

    async def nothing() -> None:
        """As if the power had gone."""

    box.versions._swapper.end = nothing  # type: ignore[method-assign] # the end of a process cannot be had otherwise


@in_virtual_time
async def test_older_versions_go_but_not_those_that_people_chose_or_brought(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop, bounds=Bounds(2, 100 * MIB, 0)) as box:
        source = make_bundle(tmp_path / "mine", "0.5", weights_of("0.5"), id="mine")
        box.store.put_folder(source)
        for number in range(8):
            loop.publish(f"1.{number}")
            await box.serves(f"1.{number}")
            await box.prove()
            if number == 1:
                await box.versions.set_mode("1.1")
                await box.until(lambda: box.state == "up_to_date")
                await box.versions.set_mode("follow_loop")
        assert box.versions.local_versions == ["0.0", "0.5", "1.1", "1.4", "1.5", "1.6", "1.7"]


@in_virtual_time
async def test_models_never_take_more_than_their_share_of_the_disk(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop, bounds=Bounds(1000, 5 * MIB, 0)) as box:
        for number in range(8):
            loop.publish(f"1.{number}", size=MIB)
            await box.serves(f"1.{number}")
            size = sum(model.size_bytes for model in box.store.list() if not model.read_only)
            assert size <= 5 * MIB
            await box.prove()
        assert box.versions.local_versions == ["0.0", "1.4", "1.5", "1.6", "1.7"]


@in_virtual_time
async def test_a_model_that_did_not_fit_into_memory_this_time_is_tried_again(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    box = LoopedBox(tmp_path, loop)
    box.supervisor.failing["1.0"] = DetectionUnavailable("The box has no memory for another model")
    async with box:
        await box.until(lambda: box.versions.error is not None)
        await asyncio.sleep(3600)
        assert len(box.supervisor.tried) < 25
        assert (box.versions.state.failures, loop.downloads("1.0")) == ((), 1)
        box.supervisor.failing.clear()
        await box.serves("1.0", seconds=301)


@in_virtual_time
async def test_a_model_that_failed_is_tried_again_when_a_person_says_so_or_the_program_is_another(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    box = LoopedBox(tmp_path, loop)
    box.supervisor.failing["1.0"] = ModelFailed("It needs another runtime")
    async with box:
        await box.until(lambda: box.versions.error is not None)
        await asyncio.sleep(60)
        assert box.supervisor.tried.count("1.0") == 1
        await box.versions.set_mode("follow_loop")
        await box.until(lambda: box.supervisor.tried.count("1.0") == 2)
    async with box:
        await asyncio.sleep(60)
        assert box.supervisor.tried == ["0.0"]
    box.supervisor.failing.clear()
    box.settings["appliance_version"] = "2"
    async with box:
        await box.serves("1.0")
