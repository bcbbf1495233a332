"""Files of a form go to the disk as they come, however they are cut."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from appliance.loop_server import coco_transfer, receiving, uploads
from appliance.loop_server.receiving import incoming_folder, receive_files
from models.errors import InputTooLarge, InvalidInput, NoRoom
from models.files import FileSystem
from tests.support.held_threads import Held, HeldFiles

BOUNDARY = "a-boundary"


def form(files: Sequence[tuple[str, bytes]], field: str = "files") -> bytes:
    """As curl writes it."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def request(body: bytes, step: int = 65536) -> Request:
    """A request whose body comes in pieces of `step` bytes."""
    pieces = [body[start : start + step] for start in range(0, len(body), step)]

    async def receive() -> MutableMapping[str, Any]:
        if not pieces:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def received(asked: Request, folder: Path, limit: int = 10_000_000) -> list[tuple[str, bytes]]:
    files = asyncio.run(receive_files(asked, folder, limit, "curl …"))
    return [(file.name, file.path.read_bytes()) for file in files]


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(st.tuples(st.text("abc.", min_size=1, max_size=5), st.binary(max_size=300)), min_size=1, max_size=5),
    step=st.integers(1, 200),
    write_at=st.integers(1, 400),
)
def test_they_arrive_as_they_were_sent(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], step: int, write_at: int
) -> None:
    if any(BOUNDARY.encode() in content for _, content in files):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiving, "_WRITE_AT", write_at)
        assert received(request(form(files), step), tmp_path_factory.mktemp("folder")) == files


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    write = receiving._Store.write

    def watched(self: Any) -> None:
        nonlocal most
        most = max(most, *(sum(map(len, file.pieces)) for file in self._form.files))
        write(self)

    monkeypatch.setattr(receiving._Store, "write", watched)
    content = bytes(12_000_000)
    assert received(request(form([("large", content)])), tmp_path, 20_000_000) == [("large", content)]
    assert most < 2_000_000


def test_what_is_too_large_too_many_or_no_form(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge):
        received(request(form([("a", bytes(3_000_000))])), tmp_path, 1_000_000)
    with pytest.raises(InputTooLarge, match="more than 64 files"):
        received(request(form([(f"f{number}", b"") for number in range(70)])), tmp_path)
    with pytest.raises(InvalidInput, match="no file in the field 'files'"):
        received(request(form([("a", b"")], field="file")), tmp_path)
    with pytest.raises(InvalidInput, match="in the middle"):
        received(request(form([("a", bytes(100))])[:-80]), tmp_path)


def test_a_disk_that_is_nearly_full_is_not_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystem, "free_bytes", lambda *_: receiving.FREE_SPACE_FLOOR + 1000)
    assert received(request(form([("a", b"small")])), tmp_path) == [("a", b"small")]
    with pytest.raises(NoRoom, match="nearly full"):
        received(request(form([("a", bytes(2000))])), tmp_path)


def test_nothing_stays_behind_however_it_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with incoming_folder(tmp_path / "incoming") as folder:
            (folder / "part-0").write_bytes(b"x")
            raise InvalidInput("no form")

    with pytest.raises(InvalidInput):
        asyncio.run(story())
    assert list((tmp_path / "incoming").iterdir()) == []


def test_who_leaves_while_a_file_is_written_leaves_nothing_behind(tmp_path: Path) -> None:
    held = Held()

    async def story() -> None:
        async with incoming_folder(tmp_path / "incoming") as folder:
            await receive_files(request(form([("a", b"x" * 10)])), folder, 1000, "curl …")

    class Slow(receiving._Store):
        def write(self) -> None:
            held.here()
            super().write()

    async def told() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receiving, "_Store", Slow)
            assert not await held.cancelled(story())

    asyncio.run(told())
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("step", ["make folders", "remove"])
def test_who_leaves_while_a_folder_comes_or_goes_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    held = Held()
    monkeypatch.setattr(receiving, "uuid4", lambda: SimpleNamespace(hex="name"))

    async def story() -> None:
        async with incoming_folder(tmp_path, HeldFiles(held, step, "name")):
            pass

    async def told() -> None:
        assert not await held.cancelled(story())

    asyncio.run(told())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_removed_spoils_nothing(tmp_path: Path) -> None:
    """The next start removes it."""

    class Stubborn(FileSystem):
        def remove_tree(self, path: Path) -> None:
            raise OSError(39, "Directory not empty")

    async def story() -> str:
        async with incoming_folder(tmp_path / "incoming", Stubborn()):
            return "stored"

    assert asyncio.run(story()) == "stored"


def test_pictures_that_are_being_stored_are_stored_before_who_sent_them_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A data set lies in a folder that goes with who sent it; a form counts as held in memory until then."""
    nobody: Any = SimpleNamespace(image_limits=None, database=SimpleNamespace())

    async def answer(_: object) -> Any:
        return {}

    nobody.database.read = nobody.database.write = answer
    plan = coco_transfer._Plan([nobody], [])
    monkeypatch.setattr(uploads, "read_form", lambda *_: [])
    monkeypatch.setattr(coco_transfer, "_examine", lambda *_: plan)
    for module, work in (
        (uploads, lambda: uploads.store(nobody, "workshop", "parts", [])),
        (coco_transfer, lambda: coco_transfer.import_zip(nobody, "workshop", "parts", Path("zip"), "box")),
    ):
        held = Held()
        monkeypatch.setattr(module, "_store", lambda *_, held=held: asyncio.to_thread(held.here))

        async def told(held: Held = held, work: Any = work) -> None:
            assert not await held.cancelled(work())

        asyncio.run(told())
