"""A box that follows its Loop: what is deployed serves as soon as it is there in a format that the box takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.looped_box import LoopedBox
from tests.support.scripted_loop import ScriptedLoop, id_of
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_what_is_deployed_is_downloaded_and_serves(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        assert box.supervisor.version == "0.0", "the start waits for no Loop"
        await box.serves("1.0")
        assert (box.state, box.versions.update.version) == ("on_probation", "1.0")
        await box.prove()
        assert (box.state, box.versions.error) == ("up_to_date", None)
        told = await box.versions.response()
        assert (told.current_version, told.target_version, told.loop_version) == ("1.0", "1.0", "1.0")
        assert told.local_versions == ["0.0", "1.0"]

        loop.publish("1.1")
        assert await box.serves("1.1") < 7, "a change is seen with the next look"
        loop.deploy("1.0")
        await box.serves("1.0")
        assert (loop.downloads("1.0"), loop.downloads("1.1")) == (1, 1), "what is on disk is not downloaded again"
        assert not list((tmp_path / "data" / "downloads").iterdir()), "nothing of the downloads stays"


@in_virtual_time
async def test_looking_is_cheap_and_regular(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        await box.prove()
        asked = len(loop.asked)
        await asyncio.sleep(1000)
        new = [what for _, what in loop.asked[asked:]]
        assert set(new) == {"GET /api/zauberzeug/projects/demo/deployment/target"}
        assert 180 < len(new) < 225


@in_virtual_time
async def test_a_box_without_a_deployment_target_stays_as_it_is(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        await asyncio.sleep(60)
        assert (box.supervisor.loaded, box.state, box.versions.error) == (["0.0"], "none", None)
        loop.publish("1.0")
        await box.serves("1.0")
        loop.target = None
        await box.until(lambda: box.versions.target is None)
        await asyncio.sleep(60)
        assert box.supervisor.version == "1.0"


@in_virtual_time
async def test_a_format_that_is_not_there_yet_is_waited_for(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.list_model("1.0", "appliance_pytorch")
    loop.deploy("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.until(lambda: box.state == "waiting_for_format")
        assert "not yet in format litert or onnx" in str(box.versions.update.sentence)
        await asyncio.sleep(3600)
        assert (box.state, box.versions.error, box.versions.state.failures) == ("waiting_for_format", None, ())
        assert loop.downloads("1.0") == 0
        assert loop.count("/models") < 80, "it is asked for ever more slowly"
        loop.publish("1.0", "onnx")
        await box.serves("1.0", seconds=61)
        assert box.supervisor.serving is not None
        assert box.supervisor.serving.bundle.identity.format == "onnx"


@in_virtual_time
async def test_a_format_that_is_listed_before_it_is_there_is_waited_for_too(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.list_model("1.0", "litert")
    loop.deploy("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await asyncio.sleep(600)
        assert (box.state, box.versions.error) == ("waiting_for_format", None)
        assert loop.count("file") < 30
        loop.publish("1.0")
        await box.serves("1.0", seconds=61)


@in_virtual_time
async def test_a_model_that_the_loop_does_not_list_is_asked_for_all_the_same(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0", "onnx")
    loop.models.clear()
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")


@in_virtual_time
async def test_of_several_formats_the_preferred_one_is_taken(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0", "onnx", "litert")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        assert box.versions.current is not None
        assert box.versions.current.format == "litert"
        assert loop.count("/onnx/") == 0


@in_virtual_time
async def test_a_format_that_fails_gives_way_to_the_next(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0", "onnx", "litert")
    loop.offer("1.0", b"no zip at all", "litert")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        assert box.versions.current is not None
        assert box.versions.current.format == "onnx"
        assert box.versions.error is None
        await asyncio.sleep(600)
        assert loop.count("litert/file") < 5, "nobody asks for what failed while another serves"


@in_virtual_time
async def test_a_target_that_makes_no_sense_is_said_to_make_none(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        for uuid, version, sentence in [
            ("../../etc", "1.0", "has the id '../../etc', which can be none"),
            (id_of("1.0"), "../1", "'../1', which is no version"),
            (id_of("1.0"), "latest", "'latest', which is no version"),
        ]:
            loop.target = {"model_uuid": uuid, "version": version}
            await box.until(lambda sentence=sentence: sentence in str(box.versions.error))  # type: ignore[misc]
        assert loop.count("/file") == 0
        loop.publish("1.0")
        await box.serves("1.0")
        assert box.versions.error is None
