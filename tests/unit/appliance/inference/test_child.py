"""A child process as the server holds it: heard to the end, ended in any case, and nothing of it stays open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.inference import child
from tests.support.fake_child import FakeProcess
from tests.support.virtual_time import in_virtual_time


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def a_moment() -> None:
    await asyncio.sleep(0.01)


@in_virtual_time
async def test_it_is_heard() -> None:
    process, heard = FakeProcess(), list[dict[str, Any]]()
    process.child.listen(heard.append)
    process.say({"trying": "litert/cpu/1"})
    process.say({"trying": "litert/cpu/2"})
    await a_moment()
    assert heard == [{"trying": "litert/cpu/1"}, {"trying": "litert/cpu/2"}]
    await process.child.stop()


@in_virtual_time
async def test_what_it_said_before_it_died_still_counts() -> None:
    """Also where its death is seen before its words are."""
    process, heard = FakeProcess(), list[dict[str, Any]]()
    process.child.listen(heard.append)
    process.say({"id": 1})
    process.end(-11)
    process.child.gone.add_done_callback(lambda _: heard.append({"gone": True}))
    await process.child.gone
    await a_moment()
    assert heard == [{"id": 1}, {"gone": True}]


@pytest.mark.parametrize(("code", "told"), [(-9, "It was ended by signal 9"), (3, "It ended with exit status 3")])
def test_how_it_died_is_told(code: int, told: str) -> None:
    @in_virtual_time
    async def story() -> None:
        process = FakeProcess()
        process.cry(b"INFO: Created delegate\nAborted: the engine ran out of ")
        await a_moment()
        process.cry(b"memory\n")
        process.end(code)
        assert await process.child.gone == told
        expected = f"{told}. Its last words: INFO: Created delegate / Aborted: the engine ran out of memory"
        assert process.child.why_it_died() == expected

    story()


@in_virtual_time
async def test_of_many_words_the_last_are_kept() -> None:
    process = FakeProcess()
    for number in range(100):
        process.cry(b"line %d\n" % number)
    process.cry(b"x" * 40_000 + b"end \xff of a dump without any line break")
    process.end(-6)
    await process.child.gone
    told = process.child.why_it_died()
    assert told.startswith("It was ended by signal 6. Its last words: line 96 / ")
    assert told.endswith("end � of a dump without any line break")
    assert len(told) < 1000


@in_virtual_time
async def test_a_grandchild_that_keeps_stderr_open_delays_nothing() -> None:
    process = FakeProcess()
    process.cry(b"last words")
    process.keep_stderr_open()
    process.end(-9)
    await asyncio.wait_for(process.child.gone, 1.0)
    assert "last words" in process.child.why_it_died()
    process.close_stderr()


@in_virtual_time
async def test_it_is_stopped_by_hanging_up() -> None:
    process = FakeProcess()
    process.child.listen(lambda message: None)
    await process.child.stop()
    assert process.child.gone.result() == "It ended with exit status 0"
    assert process.kills == 0


@in_virtual_time
async def test_one_that_does_not_end_by_itself_is_killed() -> None:
    process = FakeProcess(polite=False)
    began = asyncio.get_running_loop().time()
    await process.child.stop(patience=2.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0, abs=0.01)
    assert process.kills == 1
    await process.child.stop()  # once more: nothing to do


@in_virtual_time
async def test_one_that_hangs_up_is_killed_if_it_does_not_die() -> None:
    process = FakeProcess(polite=False)
    process.child.listen(lambda message: None)
    process.hang_up()
    await a_moment()
    assert not process.child.listening
    assert process.kills == 0  # it is most likely dying: to kill the dead would lose their exit status
    await asyncio.wait_for(process.child.gone, 2.0)
    assert process.kills == 1


@in_virtual_time
async def test_one_that_hangs_up_and_dies_is_not_killed() -> None:
    process = FakeProcess(polite=False)
    process.child.listen(lambda message: None)
    process.hang_up()
    await a_moment()
    process.end(5)
    await asyncio.sleep(5.0)
    assert process.kills == 0
    assert process.child.gone.result() == "It ended with exit status 5"


@in_virtual_time
async def test_one_that_talks_nonsense_is_killed() -> None:
    """Its memory was overwritten, say."""
    process, heard = FakeProcess(polite=False), list[dict[str, Any]]()
    process.child.listen(heard.append)
    process.theirs.send(b"H\xff\x00 nonsense")
    await asyncio.wait_for(process.child.gone, 2.0)
    assert process.kills == 1
    assert heard == []


@in_virtual_time
async def test_one_that_is_gone_cannot_be_told_anything() -> None:
    process = FakeProcess()
    process.child.listen(lambda message: None)
    assert process.child.listening
    process.end(0)  # and nobody has noticed yet
    with pytest.raises(OSError, match="Broken pipe"):
        process.child.tell({"id": 1}, b"picture")
    assert not process.child.listening
    await process.child.gone


@in_virtual_time
async def test_one_that_is_being_killed_is_not_spoken_to() -> None:
    process = FakeProcess()
    process.killable = False
    process.child.kill()
    assert not process.child.listening
    process.end(-9)
    await process.child.gone


@in_virtual_time
async def test_who_stops_waiting_for_the_end_does_not_prevent_it() -> None:
    process = FakeProcess(polite=False)
    process.killable = False
    stopping = asyncio.create_task(process.child.stop())
    await asyncio.sleep(2.5)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    process.end(-9)
    assert await process.child.gone == "It was ended by signal 9"


def test_nothing_stays_open() -> None:
    @in_virtual_time
    async def story() -> None:
        for _ in range(20):
            process = FakeProcess()
            process.child.listen(lambda message: None)
            process.cry(b"words")
            process.say({"id": 1})
            await a_moment()
            await process.child.stop()

    story()
    before = open_files()
    story()
    assert open_files() == before


def test_a_folder_named_models_where_the_program_is_started_does_not_matter(tmp_path: Path) -> None:
    """As it would with `python -m`, which looks for every import in the working directory first."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('these are not our models')")
    (tmp_path / "json.py").write_text("raise SystemExit('this is not our json')")
    command = child.command("appliance.inference.measuring")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert command[0] == sys.executable
    assert done.stderr.splitlines()[-1] == "IndexError: list index out of range"  # it wants to be told its channel
