"""The Loop is away, busy, or refuses; the disk is full. Only what is the model's fault is held against the model."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from converter_companion.node import ConverterNode
from models.errors import LoopError
from models.files import FileSystem
from models.loop.client import LoopClient
from tests.service.converter.converters import TEXTS, own_settings
from tests.service.loop_server.pictures import jpeg
from tests.service.loop_server.shop import Shop, zip_bytes
from tests.service.running_loop import RunningLoop
from tests.support.faulty_transport import Fault, FaultyTransport
from tests.support.raw_server import on_loopback

MODEL = ".*/models/[^/]+/format_a/file"
STAGES = [
    "GET /api/projects",
    "GET .*/models",
    f"(HEAD|GET) {MODEL}",
    "GET .*/data",
    "GET .*/images",
    "GET .*/images/[^/]+/main",
    "PUT .*/format_b/file",
]


@pytest.fixture
def annotated(shop: Shop) -> Shop:
    """A model and one finished picture."""
    shop.upload("format_a", zip_bytes(TEXTS))
    files = [("files", ("image_a.json", b'{"state": "complete"}')), ("files", ("image_a.jpg", jpeg()))]
    answer = shop.http.post(f"{shop.path}/images", files=files)
    assert answer.is_success, answer.text
    return shop


class Looks:
    """A node that looks when it is told to."""

    def __init__(
        self, loop: RunningLoop, folder: Path, faults: Sequence[Fault] = (), files: FileSystem | None = None
    ) -> None:
        self.faults = list(faults)
        self.work = folder / "work"
        client = LoopClient(loop.host, transport=FaultyTransport(self.faults), sleep=_at_once)
        more: dict[str, Any] = {} if files is None else {"files": files}
        self.node = ConverterNode(own_settings(loop, folder), restart=lambda: None, client=client, **more)

    async def look(self) -> str | None:
        """What is wrong but not a model's fault."""
        try:
            await self.node.look()
        except LoopError as error:
            return str(error)
        finally:
            assert not self.work.exists(), "nothing stays of a conversion"
        return self.node.trouble

    async def close(self) -> None:
        await self.node.connection.close()


async def _at_once(_seconds: float) -> None: ...


@pytest.mark.parametrize("asked", STAGES)
@pytest.mark.parametrize(
    "answer", [None, lambda: httpx.Response(503, json={"detail": "tomorrow"})], ids=["away", "busy"]
)
def test_where_the_loop_does_not_answer_nothing_is_held_against_the_model(
    asked: str, answer: Callable[[], httpx.Response] | None, annotated: Shop, loop: RunningLoop, tmp_path: Path
) -> None:
    # Other tests' projects are of no interest.
    own = asked if asked.endswith("projects") else asked.replace(".*", re.escape(annotated.path) + ".*", 1)

    async def story() -> None:
        looks = Looks(loop, tmp_path, [Fault(own, answer, 1000)])
        try:
            trouble = await looks.look()
            assert trouble, "people are told"
            assert "tomorrow" in trouble or "127.0.0.1" in trouble
            assert looks.node.memory.failures == {}
            assert annotated.models(format="format_b") == []
            looks.faults.clear()
            assert await looks.look() is None
            assert len(annotated.models(format="format_b")) == 1
        finally:
            await looks.close()

    on_loopback(story)()


@pytest.mark.parametrize(
    "detail", [{"detail": {"id": "a-model", "message": "there is one"}}, {"detail": "there is one"}], ids=["id", "none"]
)
def test_what_the_loop_has_already_counts_as_done(
    detail: dict[str, Any], annotated: Shop, loop: RunningLoop, tmp_path: Path
) -> None:
    async def story() -> None:
        looks = Looks(loop, tmp_path, [Fault("PUT .*/format_b/file", lambda: httpx.Response(409, json=detail), 1000)])
        try:
            assert await looks.look() is None
            assert looks.node.memory.failures == {}
            [done] = [each for each in looks.node.recent if each.task.project == annotated.project]
            assert done.reason is None
        finally:
            await looks.close()

    on_loopback(story)()


def test_what_the_loop_refuses_is_remembered_with_its_words(annotated: Shop, loop: RunningLoop, tmp_path: Path) -> None:
    async def story() -> None:
        refusal = Fault("PUT .*/format_b/file", lambda: httpx.Response(413, json={"detail": "100 MB at most"}), 1000)
        looks = Looks(loop, tmp_path, [refusal])
        try:
            assert await looks.look() is None
            [failure] = [each for key, each in looks.node.memory.failures.items() if annotated.project in key]
            assert "100 MB at most" in failure.reason
            refused = refusal.times
            await looks.look()
            assert refusal.times == refused, "it is not sent again and again"
        finally:
            await looks.close()

    on_loopback(story)()


def test_a_model_that_is_deleted_meanwhile_is_forgotten(annotated: Shop, loop: RunningLoop, tmp_path: Path) -> None:
    async def story() -> None:
        gone = Fault("PUT .*/format_b/file", lambda: httpx.Response(404, json={"detail": "no such model"}), 1000)
        looks = Looks(loop, tmp_path, [gone])
        try:
            assert await looks.look() is None
            assert looks.node.memory.failures == {}
        finally:
            await looks.close()

    on_loopback(story)()


class FullDisk(FileSystem):
    """Full until it is not."""

    full = True

    def create_exclusive(self, path: Path) -> Any:
        if self.full and "work" in path.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create_exclusive(path)


def test_a_full_disk_is_told_and_no_fault_of_the_model(annotated: Shop, loop: RunningLoop, tmp_path: Path) -> None:
    async def story() -> None:
        disk = FullDisk()
        looks = Looks(loop, tmp_path, files=disk)
        try:
            trouble = await looks.look()
            assert trouble is not None and "disk is full" in trouble
            assert looks.node.memory.failures == {}
            disk.full = False
            assert await looks.look() is None
            assert len(annotated.models(format="format_b")) == 1
        finally:
            await looks.close()

    on_loopback(story)()
