"""The power fails at any step of an update: the next start goes on with it or back, and no step is the wrong one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from appliance.versions.service import Bounds
from models.files import FILE_SYSTEM, FileSystem
from tests.support.crashing_files import PowerCut, disks_after_every_cut
from tests.support.looped_box import MIB, LoopedBox
from tests.support.scripted_loop import ScriptedLoop, folder_of_files, zipped
from tests.support.virtual_time import run_in_virtual_time

KINDS = 3
"""Of the six disks that remain after each cut: of a killed process, what was synced, and one by chance."""

KEEP_NONE = Bounds(0, 100 * MIB, 0)


def loop_with(*versions: str) -> ScriptedLoop:
    """The last of them is deployed."""
    loop = ScriptedLoop()
    for version in versions:
        loop.publish(version)
    return loop


def box_that_serves(disk: Path, *versions: str) -> None:
    """What a box leaves on the disk that went through these versions, each of them proven."""

    async def story() -> None:
        loop = ScriptedLoop()
        async with LoopedBox(disk, loop, bounds=KEEP_NONE) as box:
            for version in versions:
                loop.publish(version)
                await box.serves(version)
                await box.prove()

    run_in_virtual_time(story())


async def update(box: LoopedBox, version: str) -> None:
    """Until that version serves and has proven itself. Raises `PowerCut` if that was the end."""
    made = asyncio.all_tasks()
    try:
        await box.__aenter__()
        working = box.versions._updater._worker
        assert working is not None
        for step in ("serves", "prove"):
            going = asyncio.create_task(box.serves(version) if step == "serves" else box.prove())
            await asyncio.wait({going, working}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                going.cancel()
                await asyncio.gather(going, return_exceptions=True)
                await working
            await going
    finally:
        with contextlib.suppress(PowerCut):
            await box.__aexit__()
        for task in asyncio.all_tasks() - made:
            task.cancel()
            with contextlib.suppress(PowerCut, asyncio.CancelledError):
                await task


@pytest.mark.slow
@pytest.mark.timeout(900)  # each step writes the disk anew: half a minute alone, many times that beside other writers
def test_a_power_cut_at_any_step_of_an_update_is_gone_on_from_or_gone_back_from(tmp_path: Path) -> None:
    """1.0 and 1.1 have proven themselves, 1.2 is deployed: downloaded, stored, served, trusted, and 1.0 removed."""

    def act(files: FileSystem, disk: Path) -> None:
        run_in_virtual_time(update(LoopedBox(disk, loop_with("1.2"), files=files, bounds=KEEP_NONE), "1.2"))

    begun = tmp_path / "begun"
    begun.mkdir()
    box_that_serves(begun, "1.0", "1.1")
    cut_short, finished = disks_after_every_cut(
        tmp_path, before=lambda disk: shutil.copytree(begun, disk, dirs_exist_ok=True), act=act
    )

    first = {check(disk) for number, disk in enumerate(cut_short) if number % 6 < KINDS}
    assert first == {"1.1", "1.2"}, "cuts on both sides of the swap"
    assert {check(disk) for disk in finished} == {"1.2"}
    assert len(cut_short) > 6 * 40, "an update has many steps"


def check(disk: Path) -> str:
    """Start on this disk without a Loop, then with one. Which version served first."""
    served: list[str] = []

    async def story() -> None:
        loop = loop_with("1.2")
        loop.away = ConnectionError("no Loop yet")
        box = LoopedBox(disk, loop, files=FILE_SYSTEM, bounds=KEEP_NONE)
        async with box:
            assert box.versions.error is None
            served.append(str(box.supervisor.version))
            loop.away = None
            await box.serves("1.2", seconds=120)
            await box.prove()
            await box.until(lambda: box.versions.local_versions == ["0.0", "1.1", "1.2"])
            assert (box.versions.error, box.versions.state.failures) == (None, ())
            assert box.versions.state.last_good is not None
            assert box.versions.state.last_good.version == "1.1"
            await box.until(lambda: not list((disk / "data").glob("downloads/*")))

    run_in_virtual_time(story())
    assert left_beside_models(disk) == ["versions.json"], "nothing else stays"
    return served[0]


def left_beside_models(disk: Path) -> list[str]:
    """The files in DATA that are no model's, nor the one that every write of the state replaces."""
    files = folder_of_files(disk / "data")
    return [path for path in files if not path.startswith("models/zauberzeug/") and path != ".versions.json.new"]


@pytest.mark.slow
def test_a_power_cut_before_the_first_model_of_a_box(tmp_path: Path) -> None:
    content = zipped("1.0")

    def act(files: FileSystem, disk: Path) -> None:
        loop = ScriptedLoop()
        loop.offer("1.0", content)
        loop.deploy("1.0")
        run_in_virtual_time(update(LoopedBox(disk, loop, files=files), "1.0"))

    def before(disk: Path) -> None:
        LoopedBox(disk, ScriptedLoop())  # the seed model ships with the program

    cut_short, _ = disks_after_every_cut(tmp_path, before, act)

    async def story(disk: Path) -> None:
        async with LoopedBox(disk, loop_with("1.0")) as box:
            assert box.supervisor.version in ("0.0", "1.0")
            await box.serves("1.0")
            assert box.versions.error is None

    for disk in cut_short[:: len(cut_short) // 20]:
        run_in_virtual_time(story(disk))
