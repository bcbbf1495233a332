"""A converter with an own pair of formats beside the embedded loop, and how tests wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from converter_companion.node import ConverterNode
from converter_companion.settings import ConverterSettings
from tests.service.running_loop import RunningLoop

TEXTS = {"model.json": b'{"own": 7}', "greeting.txt": b"hello"}
SOON = 30.0


def own_settings(loop: RunningLoop, folder: Path, **settings: Any) -> ConverterSettings:
    """Of a node that converts format_a to format_b, and looks every 50 ms."""
    values = {"converter_pairs": ["format_a:format_b"], "poll_seconds": 0.05, **settings}
    return ConverterSettings(data_folder=folder, loop_host=loop.host, **values)


@asynccontextmanager
async def node(loop: RunningLoop, folder: Path, **settings: Any) -> AsyncIterator[ConverterNode]:
    """A node that looks every 50 ms; nothing may be left of its work."""
    made = ConverterNode(own_settings(loop, folder, **settings), restart=lambda: None)
    await made.start()
    await made.connection.switch(True)
    try:
        yield made
    finally:
        await made.close()
        await made.connection.close()
    assert not (folder / "work").exists()


async def until(what: str, found: Callable[[], Any]) -> Any:
    """The first answer of `found` that is not empty."""
    for _ in range(int(SOON / 0.05)):
        if value := await asyncio.to_thread(found):
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what} did not come about within {SOON:g} s")
