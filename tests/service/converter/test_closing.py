"""The node is closed while a thread of it works in its folder: the next node works in the same one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converter_companion import convert as conversion
from converter_companion import node as module
from converter_companion.node import ConverterNode
from tests.service.converter.converters import SOON, TEXTS, own_settings
from tests.service.loop_server.pictures import jpeg
from tests.service.loop_server.shop import Shop, model_zip, zip_bytes
from tests.service.running_loop import RunningLoop
from tests.support.held_threads import Held, HeldFiles
from tests.support.raw_server import on_loopback


@pytest.fixture
def annotated(shop: Shop) -> Shop:
    """A model that can be converted, one that cannot, and a picture."""
    shop.upload("format_a", zip_bytes(TEXTS))
    shop.upload("format_a", model_zip())
    files = [("files", ("image_a.json", b"{}")), ("files", ("image_a.jpg", jpeg()))]
    answer = shop.http.post(f"{shop.path}/images", files=files)
    assert answer.is_success, answer.text
    return shop


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("make folders", "images"),
        ("write", "picture_00000.jpg"),
        ("write", "greeting.txt"),
        ("remember", "converter.json"),
        ("remove", "work"),
    ],
)
def test_nothing_is_written_behind_a_node_that_has_closed(
    step: str, name: str, annotated: Shop, loop: RunningLoop, tmp_path: Path
) -> None:
    del annotated
    held = Held()
    story = closed_while_held(loop, tmp_path, held, files=HeldFiles(held, step, name))
    on_loopback(story)()
    assert not (tmp_path / "work").exists()


def test_a_conversion_is_given_a_moment_to_end(annotated: Shop, loop: RunningLoop, tmp_path: Path) -> None:
    del annotated
    held = Held()

    def convert(*arguments: Any, stopped: threading.Event, **options: Any) -> Any:
        held.here()
        (tmp_path / "work" / "result").mkdir()
        return conversion.convert(*arguments, stopped=stopped, **options)

    on_loopback(closed_while_held(loop, tmp_path, held, convert=convert))()
    assert not (tmp_path / "work").exists()


def test_a_conversion_that_does_not_end_keeps_nobody_waiting(
    annotated: Shop, loop: RunningLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del annotated
    monkeypatch.setattr(module, "ENDS_WITHIN_S", 0.1)
    held, ended = Held(), threading.Event()

    def convert(*_: Any, **__: Any) -> Any:
        try:
            held.here()
            raise AssertionError("nobody hears of this")
        finally:
            ended.set()

    async def story() -> None:
        before = asyncio.all_tasks()
        node = await started(loop, tmp_path, convert=convert)
        await held.is_met()
        await node.close()
        await node.connection.close()
        held.go_on.set()
        assert await asyncio.to_thread(ended.wait, SOON)
        for _ in range(int(SOON / 0.01)):  # until its thread has told the event loop
            if asyncio.all_tasks() == before:
                break
            await asyncio.sleep(0.01)

    on_loopback(story)()
    assert not (tmp_path / "work").exists()


async def started(loop: RunningLoop, folder: Path, **parts: Any) -> ConverterNode:
    node = ConverterNode(own_settings(loop, folder), restart=lambda: None, **parts)
    await node.start()
    await node.connection.switch(True)
    return node


def closed_while_held(loop: RunningLoop, folder: Path, held: Held, **parts: Any) -> Callable[[], Any]:
    """A node is closed while one of its threads is held, and the thread is let go only then."""

    async def story() -> None:
        node = await started(loop, folder, **parts)
        await held.is_met()
        closing = asyncio.ensure_future(node.close())
        done, _ = await asyncio.wait([closing], timeout=0.2)
        held.go_on.set()
        await closing
        await node.connection.close()
        assert not done, "it says that it has closed while its thread still works"

    return story
