"""Pictures of the outbox as a zip, fetched over a real socket."""

from __future__ import annotations

import io
import json
import shutil
import socket
import zipfile
from typing import Any

import pytest

from appliance.api import streaming
from appliance.api.v1.outbox_export import EXPORTS_AT_ONCE
from models.wire.image_metadata import ImageMetadata
from tests.service.box import STRANGER, Box
from tests.service.conftest import MakeBox
from tests.service.outbox import pictures_in
from tests.service.photographs import CAT, CUP, PERSON

EXPORT = "/api/v1/outbox/export"


@pytest.fixture(scope="module")
def same_box(make_box: MakeBox) -> Box:
    return make_box(max_outbox_size=10_000)


@pytest.fixture
def box(same_box: Box) -> Box:
    """A box with two pictures that wait, one that goes first, and one that was rejected."""
    outbox = same_box.services.outbox
    outbox.clear()
    outbox.save(CAT.jpeg, ImageMetadata(tags=["uncertain"], source="front"))
    outbox.save(CUP.jpeg, ImageMetadata(tags=["picked_by_system"]))
    outbox.save(PERSON.jpeg, ImageMetadata(tags=["picked_by_system"]), priority=True)
    outbox.reject(outbox.save(b"no picture at all", ImageMetadata()), "no JPEG", 422)
    return same_box


def opened(answer: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(answer))
    assert archive.testzip() is None
    return archive


def exported(box: Box, **query: Any) -> zipfile.ZipFile:
    answer = box.http.get(EXPORT, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return opened(answer.content)


def manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    assert archive.namelist()[-1] == "manifest.json"
    return dict(json.loads(archive.read("manifest.json")))


def pictures(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".jpg")]


def test_pictures_are_in_it_byte_for_byte_with_their_metadata(box: Box) -> None:
    archive = exported(box)
    waiting = pictures_in(box)
    assert len(pictures(archive)) == len(waiting) == 3
    for kept in waiting:
        stem = f"{kept.queue}/image_{kept.id}"
        assert archive.read(f"{stem}.jpg") == kept.picture
        assert json.loads(archive.read(f"{stem}.json")) == kept.metadata
    assert manifest(archive) == {"pictures": 3, "bytes": sum(len(kept.picture) for kept in waiting), "left_out": []}


def test_the_zip_is_named_after_the_box_and_what_is_in_it(box: Box) -> None:
    answer = box.http.get(EXPORT, params={"folder": "rejected"})
    assert answer.headers["content-disposition"] == 'attachment; filename="pictures-testbox-rejected.zip"'


@pytest.mark.parametrize(
    ("folder", "count"), [("waiting", 3), ("normal", 2), ("priority", 1), ("rejected", 1), ("all", 4)]
)
def test_a_part_of_it(box: Box, folder: str, count: int) -> None:
    assert len(pictures(exported(box, folder=folder))) == count


def test_the_loops_words_are_beside_what_it_did_not_want(box: Box) -> None:
    archive = exported(box, folder="rejected")
    [name] = pictures(archive)
    assert archive.read(name) == b"no picture at all"
    assert json.loads(archive.read(name.replace(".jpg", ".reason.json"))) == {"reason": "no JPEG"}


def test_a_selection_and_what_of_it_is_not_here(box: Box) -> None:
    wanted = pictures_in(box)[1]
    archive = exported(box, id=[wanted.id, "2020-01-01_00-00-00.000000", wanted.id])
    assert pictures(archive) == [f"{wanted.queue}/image_{wanted.id}.jpg"]
    [gone] = manifest(archive)["left_out"]
    assert gone["id"] == "2020-01-01_00-00-00.000000"
    assert "sent, or deleted" in gone["why"]


@pytest.mark.parametrize("query", [{"folder": "cellar"}, {"id": "../../etc/passwd"}, {"id": ["a"] * 501}])
def test_what_it_does_not_understand_is_said(box: Box, query: dict[str, Any]) -> None:
    assert box.http.get(EXPORT, params=query).status_code == 422


def test_strangers_see_no_picture(box: Box) -> None:
    assert box.ask("GET", EXPORT, client=STRANGER).status_code == 401


def test_names_with_colons_are_written_as_every_file_system_takes_them(box: Box) -> None:
    [kept] = [each for each in pictures_in(box) if each.queue == "priority"]
    upstreams = "2024-01-01_12:34:56.123456"
    folder = box.data / "outbox" / "normal" / upstreams
    folder.mkdir()
    (folder / f"image_{upstreams}.jpg").write_bytes(kept.picture)
    (folder / f"image_{upstreams}.json").write_text("{}")
    box.services.outbox.recount()
    assert "normal/image_2024-01-01_12-34-56.123456.jpg" in pictures(exported(box))


def fill(box: Box, count: int, size: int) -> None:
    """Pictures that have waited for long; quicker than saving them one by one."""
    for number in range(count):
        name = f"2024-01-01_00-{number // 60:02}-{number % 60:02}.000000"
        folder = box.data / "outbox" / "normal" / name
        folder.mkdir()
        (folder / f"image_{name}.jpg").write_bytes(number.to_bytes(4, "big") * (size // 4))
        (folder / f"image_{name}.json").write_text('{"tags": ["uncertain"]}')
    box.services.outbox.recount()


def test_thousands_of_them(box: Box) -> None:
    fill(box, 3000, 400)
    archive = exported(box, folder="normal")
    assert manifest(archive)["pictures"] == 3002
    assert len(set(pictures(archive))) == 3002


def test_pictures_may_vanish_while_it_is_sent(box: Box) -> None:
    fill(box, 100, 1_000_000)
    normal, before = box.data / "outbox" / "normal", box.services.outbox.tallies()["vanished"]
    with box.http.stream("GET", EXPORT, params={"folder": "normal"}) as answer:
        pieces = answer.iter_raw()
        received = next(pieces)
        for number in range(50):  # the oldest, which come last
            shutil.rmtree(normal / f"2024-01-01_00-00-{number:02}.000000")
        box.services.outbox.prioritise("2024-01-01_00-00-55.000000")
        received += b"".join(pieces)
    archive = opened(received)
    told = manifest(archive)
    assert told["pictures"] == 52
    assert {each["id"] for each in told["left_out"]} == {f"2024-01-01_00-00-{number:02}.000000" for number in range(50)}
    assert "priority/image_2024-01-01_00-00-55.000000.jpg" in pictures(archive)
    assert box.services.outbox.tallies()["vanished"] == before + 50, "the books are put right on the way"


def unread(box: Box) -> socket.socket:
    """Somebody who asks for the zip and takes nothing of it."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.connect(("127.0.0.1", box.port))
    asking.sendall(f"GET {EXPORT} HTTP/1.1\r\nHost: 127.0.0.1:{box.port}\r\n\r\n".encode())
    assert asking.recv(15) == b"HTTP/1.1 200 OK"
    return asking


def test_who_goes_away_ends_it_and_nobody_waits_for_ever(box: Box) -> None:
    fill(box, 100, 1_000_000)
    slow = [unread(box) for _ in range(EXPORTS_AT_ONCE)]
    refused = box.http.get(EXPORT)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
    assert box.detects(CAT.jpeg), "the box does what it is for meanwhile"
    for each in slow:
        each.close()
    box.wait_until(lambda: box.http.get(EXPORT, params={"id": "x"}).status_code == 200)


def test_who_takes_nothing_is_cut_off(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming.Stream.__init__, "__defaults__", (0.3,))
    fill(box, 100, 1_000_000)
    slow = [unread(box) for _ in range(EXPORTS_AT_ONCE)]
    try:
        box.wait_until(lambda: box.http.get(EXPORT, params={"id": "x"}).status_code == 200)
        received = b""
        slow[0].settimeout(30)
        while data := slow[0].recv(1 << 20):
            received += data
        assert not received.endswith(b"0\r\n\r\n"), "what is not whole does not look whole"
    finally:
        for each in slow:
            each.close()
