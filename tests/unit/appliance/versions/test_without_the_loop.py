"""The Loop away, pretending, and clocks that jump: the box is at ease."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.looped_box import NOW, LoopedBox
from tests.support.scripted_loop import AWAY, ScriptedLoop
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_loop_that_is_away_is_asked_ever_more_slowly_and_found_again(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    loop.away = AWAY
    async with LoopedBox(tmp_path, loop) as box:
        await asyncio.sleep(7200)
        condition = box.connection.condition
        assert condition.state == "away"
        assert 7190 < condition.seconds <= 7200
        assert "loop.example" in str(condition.because)
        assert (box.supervisor.version, box.versions.error) == ("0.0", None)
        times = [when for when, _ in loop.asked]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert max(pauses) <= 61, "never more slowly than the cap"
        assert len(times) < 200, "it does not hammer"
        loop.away = None
        await box.serves("1.0", seconds=62)
        assert box.connection.condition.state == "connected"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html><title>Hotel WLAN</title>"),
        httpx.Response(200, json={"detail": "not what was asked for"}),
        httpx.Response(200, text="{"),
        httpx.Response(500),
        httpx.Response(401),
        httpx.Response(302, headers={"location": "http://elsewhere"}),
    ],
    ids=["a web page", "other JSON", "half of JSON", "500", "401", "elsewhere"],
)
@in_virtual_time
async def test_what_answers_like_no_loop_is_no_loop(tmp_path: Path, loop: ScriptedLoop, answer: httpx.Response) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.away = lambda request: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        await asyncio.sleep(600)
        assert box.connection.condition.state == "away"
        assert (box.supervisor.version, box.versions.loop_version) == ("1.0", "1.0")
        loop.away = None
        loop.publish("1.1")
        await box.serves("1.1", seconds=62)


@in_virtual_time
async def test_after_a_restart_without_a_loop_what_served_serves(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    box = LoopedBox(tmp_path, loop)
    async with box:
        await box.serves("1.0")
    loop.away = AWAY
    async with box:
        assert box.supervisor.loaded == ["1.0"]
        await asyncio.sleep(60)
        assert box.versions.error is None


@pytest.mark.parametrize("days", [365, -365])
@in_virtual_time
async def test_a_clock_that_jumps_by_a_year_changes_nothing(tmp_path: Path, loop: ScriptedLoop, days: int) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        box.versions.lock.hold(100)
        box.now = lambda: NOW + timedelta(days=days)
        loop.offer("1.1", b"no zip")
        loop.deploy("1.1")
        await box.until(lambda: box.versions.error is not None)
        asked = len(loop.asked)
        await asyncio.sleep(50)
        assert 15 < len(loop.asked) - asked < 35, "a look at the target and one at the file each 5 s"
        assert loop.downloads("1.1") == 1
        assert box.versions.lock.seconds_left < 60
        told = box.connection.in_words(box.now)
        assert told["since"].startswith(str((NOW + timedelta(days=days)).year))
        loop.publish("1.1")
        await box.serves("1.1")


@in_virtual_time
async def test_a_hundred_boxes_do_not_ask_at_the_same_moment(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.away = AWAY
    boxes = []
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        boxes.append(LoopedBox(folder, loop))
    for box in boxes:
        await box.__aenter__()
    await asyncio.sleep(600)
    loop.asked.clear()
    await asyncio.sleep(60)
    seconds = {int(when) for when, _ in loop.asked}
    for box in boxes:
        await box.__aexit__()
    assert len(seconds) > 8
