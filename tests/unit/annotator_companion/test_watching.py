"""What an annotator tells its page of the answers that it gave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from annotator_companion.node import LAST_ANSWERS, Annotator
from annotator_companion.page import Watching
from annotator_companion.settings import AnnotatorSettings
from models.loop.client import LoopClient
from tests.support.virtual_time import in_virtual_time
from tests.unit.annotator_companion.inputs import Noting
from tests.unit.annotator_companion.test_node import UUID, Loop


@in_virtual_time
async def test_answers_are_timed_and_what_failed_is_counted(tmp_path: Path) -> None:
    loop, now = Loop(), asyncio.get_running_loop().time
    settings = AnnotatorSettings(data_folder=tmp_path, node_name="pen", loop_host="loop")
    client = LoopClient("loop", transport=httpx.MockTransport(loop.http))
    annotator = Annotator(
        settings, [Noting()], UUID, client, restart=lambda: None, now=now, make_socket=loop.make_socket
    )
    watching = Watching(annotator)
    try:
        alone = await watching.feed.now()
        assert alone.condition.sentence == "Nobody can draw with it now."
        await annotator.connection.switch(True)
        while not loop.calls:
            await asyncio.sleep(0.1)
        waits = await watching.feed.now()
        assert waits.condition.sentence == f"Waits for somebody to draw on a page of {client.base_url}"
        assert waits.condition.severity == "good"
        assert waits.tools == (Noting.name,)

        await loop.input("left_mouse_down", 3, 4)
        for _ in range(LAST_ANSWERS):
            await loop.input("mouse_move", 5, 6)
        failed = await loop.input("left_mouse_down", 3, 4, image_uuid="gone")
        assert not failed["success"]

        view = await watching.feed.now()
        numbers = {name: value for name, value, _ in view.numbers}
        assert len(annotator.answers) == LAST_ANSWERS
        assert all(0 <= milliseconds < 60_000 for milliseconds in annotator.answers)
        assert numbers["Pages"] == "1"
        assert numbers["Failed answers"] == "1"
        assert view.failure is not None
        assert view.condition.sentence == f"Answers 1 page of {client.base_url}"
    finally:
        await annotator.close()
        await annotator.connection.close()
