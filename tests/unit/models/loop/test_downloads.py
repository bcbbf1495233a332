"""Models downloaded from a server on loopback that breaks off, lies, drips and changes its mind."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from models.errors import InputTooLarge, LoopBusy, LoopUnreachable, NoRoom, NotInLoop
from models.files import FileSystem
from models.loop.client import LoopClient
from models.loop.downloads import Download
from models.loop.session import LoopSession
from tests.support.raw_server import Asked, RawServer, json_response, on_loopback, raw_server, reset, response

ZIP = random.Random(7).randbytes(3_000_000)
SHA256 = hashlib.sha256(ZIP).hexdigest()
PATH = "/api/zauberzeug/projects/demo/models/1234/litert/file"


class FileServer:
    """Serves `content` as a Loop does, with Range. `breaks_after` bytes of body it resets the connection, once each."""

    def __init__(self, content: bytes = ZIP, *, etag: str | None = '"one"', last_modified: str | None = None) -> None:
        self.content = content
        self.etag = etag
        self.last_modified = last_modified
        self.breaks_after: list[int] = []
        self.ranges = True
        self.honours_if_range = True
        self.starts_late_by = 0
        self.name = 'attachment; filename="model 1.zip"'

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        headers = {"content_disposition": self.name}
        if self.etag:
            headers["etag"] = self.etag
        if self.last_modified:
            headers["last_modified"] = self.last_modified
        proof = asked.headers.get("if-range")
        unchanged = proof is None or proof in (self.etag, self.last_modified) or not self.honours_if_range
        if "range" in asked.headers and self.ranges and unchanged:
            start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
            start += self.starts_late_by
            size = len(self.content)
            if start >= size:
                writer.write(response("416 Range Not Satisfiable", content_range=f"bytes */{size}"))
                return
            headers["content_range"] = f"bytes {start}-{size - 1}/{size}"
            whole = response("206 Partial Content", self.content[start:], **headers)
        else:
            whole = response("200 OK", self.content, **headers)
        if self.breaks_after:
            whole = whole[: whole.index(b"\r\n\r\n") + 4 + self.breaks_after.pop(0)]
            writer.write(whole)
            await writer.drain()
            await asyncio.sleep(0.2)  # what was sent arrives before the reset takes it back
            reset(writer)
        else:
            writer.write(whole)


async def fetch(server: RawServer, to: Path, max_bytes: int = 10_000_000, files: FileSystem | None = None) -> Download:
    """One download with a client of its own."""
    client = LoopClient(server.host, files=files or FileSystem())
    try:
        return await client.project("zauberzeug", "demo").download_model("1234", "litert", to, max_bytes=max_bytes)
    finally:
        await client.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@on_loopback
async def test_a_model_is_downloaded_and_measured(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    async with raw_server(FileServer()) as server:
        client = LoopClient(server.host)
        project = client.project("zauberzeug", "demo")
        got = await project.download_model(
            "1234", "litert", tmp_path / "model", max_bytes=3_000_000, progress=lambda *so_far: told.append(so_far)
        )
        await client.close()
    assert got == Download(tmp_path / "model", len(ZIP), SHA256, "model_1.zip")
    assert (tmp_path / "model").read_bytes() == ZIP
    assert names(tmp_path) == ["model"]
    assert [asked.path for asked in server.asked] == [PATH], "it logged in"
    assert told[-1] == (len(ZIP), len(ZIP))
    assert told == sorted(told)
    assert len(told) >= 3


@on_loopback
async def test_a_download_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    files = FileServer()
    files.breaks_after = [1_200_000, 700_000]
    async with raw_server(files) as server:
        for _ in range(2):
            with pytest.raises(LoopUnreachable, match="broke off"):
                await fetch(server, tmp_path / "model")
            assert names(tmp_path) == ["model", "model.part-of"]
        got = await fetch(server, tmp_path / "model")
    assert [asked.headers.get("range") for asked in server.asked] == [None, "bytes=1200000-", "bytes=1900000-"]
    assert [asked.headers.get("if-range") for asked in server.asked] == [None, '"one"', '"one"']
    assert (got.size, got.sha256) == (len(ZIP), SHA256)
    assert (tmp_path / "model").read_bytes() == ZIP
    assert names(tmp_path) == ["model"]


OTHER = random.Random(8).randbytes(3_000_000)


def changed_etag(files: FileServer) -> None:
    files.content, files.etag = OTHER, '"two"'


def changed_etag_unnoticed(files: FileServer) -> None:
    changed_etag(files)
    files.honours_if_range = False


def changed_size_only(files: FileServer) -> None:
    files.content, files.honours_if_range = OTHER + b"more", False


def became_smaller(files: FileServer) -> None:
    files.content, files.etag, files.honours_if_range = OTHER[:1000], '"two"', False


def lost_its_proof(files: FileServer) -> None:
    files.content, files.etag, files.honours_if_range = OTHER, None, False


def gives_another_range(files: FileServer) -> None:
    files.starts_late_by = 1


def forgot_ranges(files: FileServer) -> None:
    files.content, files.ranges = OTHER, False


@pytest.mark.parametrize(
    "change",
    [
        gives_another_range,
        changed_etag,
        changed_etag_unnoticed,
        changed_size_only,
        became_smaller,
        lost_its_proof,
        forgot_ranges,
    ],
)
def test_a_part_of_another_file_is_never_gone_on_with(tmp_path: Path, change: Callable[[FileServer], None]) -> None:
    @on_loopback
    async def story() -> None:
        files = FileServer()
        files.breaks_after = [1_200_000]
        async with raw_server(files) as server:
            with pytest.raises(LoopUnreachable):
                await fetch(server, tmp_path / "model")
            change(files)
            got = await fetch(server, tmp_path / "model")
        assert (tmp_path / "model").read_bytes() == files.content
        assert got.sha256 == hashlib.sha256(files.content).hexdigest()
        assert names(tmp_path) == ["model"]

    story()


@pytest.mark.parametrize(
    ("etag", "last_modified", "resumed"),
    [
        ('"strong"', None, True),
        ('W/"weak"', None, False),
        (None, "Wed, 21 Oct 2015 07:28:00 GMT", True),
        ('W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT", True),
        (None, None, False),
    ],
)
def test_a_part_is_gone_on_with_where_the_loop_can_prove_that_it_is_the_same(
    tmp_path: Path, etag: str | None, last_modified: str | None, resumed: bool
) -> None:
    @on_loopback
    async def story() -> None:
        files = FileServer(etag=etag, last_modified=last_modified)
        files.breaks_after = [2_000_000]
        async with raw_server(files) as server:
            with pytest.raises(LoopUnreachable):
                await fetch(server, tmp_path / "model")
            got = await fetch(server, tmp_path / "model")
        assert ("range" in server.asked[-1].headers) is resumed
        assert got.sha256 == SHA256

    story()


@on_loopback
async def test_a_file_without_a_note_or_with_that_of_another_model_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"something else entirely")
    files = FileServer()
    async with raw_server(files) as server:
        assert (await fetch(server, tmp_path / "model")).sha256 == SHA256
        files.breaks_after = [2_000_000]
        with pytest.raises(LoopUnreachable):
            await fetch(server, tmp_path / "model")
        client = LoopClient(server.host)
        await client.project("zauberzeug", "demo").download_model(
            "5678", "litert", tmp_path / "model", max_bytes=10_000_000
        )
        await client.close()
    assert not any("range" in asked.headers for asked in server.asked)


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"url": 1}', b"\xff" * 100_000])
def test_a_damaged_note_only_costs_the_part(tmp_path: Path, note: bytes) -> None:
    @on_loopback
    async def story() -> None:
        (tmp_path / "model").write_bytes(ZIP[:1000])
        (tmp_path / "model.part-of").write_bytes(note)
        async with raw_server(FileServer()) as server:
            assert (await fetch(server, tmp_path / "model")).sha256 == SHA256

    story()


@on_loopback
async def test_a_file_shorter_than_its_note_says_is_not_trusted(tmp_path: Path) -> None:
    files = FileServer()
    files.breaks_after = [2_000_000]
    async with raw_server(files) as server:
        with pytest.raises(LoopUnreachable):
            await fetch(server, tmp_path / "model")
        with (tmp_path / "model").open("r+b") as file:
            file.truncate(1_000_000)
        assert (await fetch(server, tmp_path / "model")).sha256 == SHA256
    assert "range" not in server.asked[-1].headers


@on_loopback
async def test_a_part_that_lacks_only_the_end_of_its_note_is_finished(tmp_path: Path) -> None:
    files = FileServer()
    files.breaks_after = [len(ZIP) - 1]
    async with raw_server(files) as server:
        with pytest.raises(LoopUnreachable):
            await fetch(server, tmp_path / "model")
        note = (tmp_path / "model.part-of").read_text()
        (tmp_path / "model").write_bytes(ZIP)
        (tmp_path / "model.part-of").write_text(note.replace(str(len(ZIP) - 1), str(len(ZIP))))
        got = await fetch(server, tmp_path / "model")
    assert (got.sha256, server.asked[-1].headers["range"]) == (SHA256, f"bytes={len(ZIP) - 1}-")


@on_loopback
async def test_what_is_too_large_is_refused_before_it_comes_and_nothing_stays(tmp_path: Path) -> None:
    async with raw_server(FileServer()) as server:
        with pytest.raises(InputTooLarge, match="larger than 1 MiB"):
            await fetch(server, tmp_path / "model", max_bytes=1024 * 1024)
    assert names(tmp_path) == []


@on_loopback
async def test_what_is_too_large_without_saying_so_is_cut_off(tmp_path: Path) -> None:
    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\netag: "x"\r\n\r\n')
        while not writer.is_closing():
            writer.write(bytes(65536))
            await writer.drain()

    async with raw_server(endless) as server:
        with pytest.raises(InputTooLarge):
            await fetch(server, tmp_path / "model", max_bytes=5_000_000)
    assert names(tmp_path) == []


@on_loopback
async def test_a_model_that_is_not_there_or_not_now_is_told_and_keeps_the_part(tmp_path: Path) -> None:
    files = FileServer()
    files.breaks_after = [1_500_000]
    answers = [json_response({"detail": "not in this format"}, "404 Not Found")]
    answers.append(response("429 Too Many Requests", retry_after="30"))

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if "range" in asked.headers and answers:
            writer.write(answers.pop(0))
        else:
            await files(asked, writer)

    async with raw_server(reply) as server:
        with pytest.raises(LoopUnreachable):
            await fetch(server, tmp_path / "model")
        with pytest.raises(NotInLoop, match=r"no model 1234 in format litert .*not in this format"):
            await fetch(server, tmp_path / "model")
        with pytest.raises(LoopBusy) as failure:
            await fetch(server, tmp_path / "model")
        assert failure.value.retry_after == 30
        assert (await fetch(server, tmp_path / "model")).sha256 == SHA256
    assert server.asked[-1].headers["range"] == "bytes=1500000-"


@on_loopback
async def test_a_cancelled_download_ends_at_once_and_can_be_gone_on_with(tmp_path: Path) -> None:
    async def stuck(asked: Asked, writer: asyncio.StreamWriter) -> None:
        whole = response("200 OK", ZIP, etag='"one"')
        writer.write(whole[:2_000_000])
        for start in range(2_000_000, len(whole), 10):
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(whole[start : start + 10])

    async with raw_server(stuck) as server:
        task = asyncio.create_task(fetch(server, tmp_path / "model"))
        while not (tmp_path / "model").exists() or (tmp_path / "model").stat().st_size < 1_000_000:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while server.open_connections:
            await asyncio.sleep(0.01)
    assert (tmp_path / "model").read_bytes() == ZIP[: (tmp_path / "model").stat().st_size]
    part = (tmp_path / "model").stat().st_size
    assert f'"synced":{part}' in (tmp_path / "model.part-of").read_text()


def test_a_full_disk_does_not_keep_a_download_from_being_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cancels a task and waits for its end would wait for ever, for it would go on with something else."""

    class Full(FileSystem):
        def create_exclusive(self, path: Path) -> BinaryIO:
            if path.name != "model":
                return super().create_exclusive(path)
            path.touch()
            return os.fdopen(os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC), "wb", buffering=0)

    taken, hung_up = asyncio.Event(), asyncio.Event()
    pieces_of = LoopSession.pieces

    async def pieces(session: LoopSession, response: httpx.Response) -> AsyncIterator[bytes]:
        async for piece in pieces_of(session, response):
            yield piece
            taken.set()

    async def stuck(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(response("200 OK", ZIP, etag='"one"')[:100_000])
        await writer.drain()
        await hung_up.wait()

    @on_loopback
    async def story() -> None:
        async with raw_server(stuck) as server:
            task = asyncio.create_task(fetch(server, tmp_path / "model", files=Full()))
            await taken.wait()
            task.cancel()
            await asyncio.wait([task])
            hung_up.set()
            assert task.cancelled()

    monkeypatch.setattr(LoopSession, "pieces", pieces)
    story()
    assert names(tmp_path) == []


@on_loopback
async def test_a_full_disk_is_told_and_nothing_stays_in_its_way(tmp_path: Path) -> None:
    class FullAtTheEnd(FileSystem):
        synced = 0

        def sync_file(self, file: BinaryIO) -> None:
            self.synced += 1
            if self.synced > 1:  # the note is the first
                raise OSError(errno.ENOSPC, "No space left on device")
            super().sync_file(file)

    async with raw_server(FileServer()) as server:
        with pytest.raises(NoRoom, match="could not download model: the disk is full"):
            await fetch(server, tmp_path / "model", files=FullAtTheEnd())
        assert names(tmp_path) == []
        assert (await fetch(server, tmp_path / "model")).sha256 == SHA256


@on_loopback
async def test_a_download_that_only_drips_is_given_up_and_a_slow_one_is_not(tmp_path: Path) -> None:
    seconds = 0.0

    def clock() -> float:
        nonlocal seconds
        seconds += 10.0
        return seconds

    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        whole = response("200 OK", ZIP[:200_000], etag='"one"')
        for start in range(0, len(whole), size):
            writer.write(whole[start : start + size])
            await writer.drain()
            await asyncio.sleep(0.01)

    async def fetch_slowly(to: Path) -> Download:
        client = LoopClient(server.host, now=clock)
        try:
            return await client.project("o", "p").download_model("1", "litert", to, max_bytes=1_000_000)
        finally:
            await client.close()

    async with raw_server(drip) as server:
        size = 500
        with pytest.raises(LoopUnreachable, match="sends less than 16 KiB in 120 s"):
            await fetch_slowly(tmp_path / "model")
        assert 500 <= (tmp_path / "model").stat().st_size < 20_000
        size = 10_000
        assert (await fetch_slowly(tmp_path / "model")).size == 200_000


@on_loopback
async def test_a_download_on_a_slow_line_is_synced_every_now_and_then(tmp_path: Path) -> None:
    seconds = 0.0

    def clock() -> float:
        nonlocal seconds
        seconds += 4.0
        return seconds

    notes: set[str] = set()

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        whole = response("200 OK", ZIP[:100_000], etag='"one"')
        for start in range(0, len(whole), 20_000):
            writer.write(whole[start : start + 20_000])
            await writer.drain()
            await asyncio.sleep(0.1)
            notes.update(path.read_text() for path in tmp_path.glob("*.part-of"))
        reset(writer)

    async with raw_server(slow) as server:
        client = LoopClient(server.host, now=clock)
        await client.project("o", "p").download_model("1", "litert", tmp_path / "model", max_bytes=1_000_000)
        await client.close()
    assert len(notes) >= 3, "a power cut would have cost everything"
