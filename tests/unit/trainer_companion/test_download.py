"""Pictures from the Loop to the disk: several at a time, each once, only whole ones, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import errno
import io
import random
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from models.errors import DetectorApplianceError, LoopUnreachable, NoRoom, NotInLoop
from models.files import FILE_SYSTEM, FileSystem
from models.wire.project_data import ImageData, ProjectData
from tests.service.loop_server.pictures import jpeg
from tests.support.crashing_files import disks_after_every_cut
from tests.support.held_threads import Held, HeldFiles
from tests.support.virtual_time import in_virtual_time, run_in_virtual_time
from trainer_companion import download, inspecting
from trainer_companion.children import ChildFailed
from trainer_companion.download import AT_ONCE, DAMAGED, Images, described, file_name
from trainer_companion.loop_dataset import Stored


class Loop:
    """A Loop with pictures that takes a second for each request."""

    def __init__(self, pictures: dict[str, bytes]) -> None:
        self.pictures = pictures
        self.asked: list[str] = []
        self.named: list[int] = []
        self.under_way = self.most = 0
        self.away_after: int | None = None

    async def data(self, state: str | None = None) -> ProjectData:
        return ProjectData(image_ids=list(self.pictures))

    async def images(self, ids: Sequence[str], model_version: str | None = None) -> list[ImageData]:
        self.named.append(len(ids))
        return [ImageData(id=id, set="train") for id in reversed(ids) if id in self.pictures]

    async def download_image(self, image_id: str) -> bytes:
        if self.away_after is not None and len(self.asked) >= self.away_after:
            raise LoopUnreachable("away")
        self.asked.append(image_id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(1.0)
        self.under_way -= 1
        if image_id not in self.pictures:
            raise NotInLoop("no such image")
        return self.pictures[image_id]


def a_loop(number: int) -> Loop:
    return Loop({f"id-{n}": jpeg(n) for n in range(number)})


def photograph() -> bytes:
    """An astronaut."""
    from skimage import data

    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).save(buffer, "JPEG", quality=90)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def nobody(_share: float) -> None:
    """Nobody looks how far it is."""


@in_virtual_time
async def test_ten_are_asked_for_at_a_time_and_the_progress_is_true(tmp_path: Path) -> None:
    loop = a_loop(35)
    shares: list[float] = []
    began = asyncio.get_running_loop().time()
    fetched = await Images(tmp_path / "images").fetch(loop, list(loop.pictures), shares.append)
    assert asyncio.get_running_loop().time() - began == pytest.approx(4.0)
    assert loop.most == AT_ONCE == 10
    assert list(fetched.stored) == list(loop.pictures)
    assert fetched.stored["id-7"] == Stored("id-7.jpg", 32, 24)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {round(share * 35) for share in shares} == set(range(36))
    assert (tmp_path / "images" / "id-7.jpg").read_bytes() == loop.pictures["id-7"]


@in_virtual_time
async def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    loop = a_loop(12)
    first = await Images(tmp_path / "images").fetch(loop, ["id-1", "id-2", "id-2"], nobody)
    assert loop.asked == ["id-1", "id-2"]
    (tmp_path / "images" / "of another time.jpg.incoming").write_bytes(b"cut off")
    images = Images(tmp_path / "images")
    second = await images.fetch(loop, list(loop.pictures), nobody)
    assert images.fetched == 10
    assert sorted(loop.asked) == sorted(loop.pictures)
    assert {**second.stored, **first.stored} == second.stored
    assert not list((tmp_path / "images").glob("*.incoming"))


@in_virtual_time
async def test_a_loop_that_goes_away_costs_only_what_was_under_way(tmp_path: Path) -> None:
    loop = a_loop(30)
    loop.away_after = 25
    with pytest.raises(LoopUnreachable):
        await Images(tmp_path / "images").fetch(loop, list(loop.pictures), nobody)
    kept = {path.stem for path in (tmp_path / "images").glob("*.jpg")}
    assert len(kept) >= 20 - AT_ONCE
    loop.away_after, loop.asked = None, []
    fetched = await Images(tmp_path / "images").fetch(loop, list(loop.pictures), nobody)
    assert len(fetched.stored) == 30
    assert not kept & set(loop.asked)
    assert not list((tmp_path / "images").glob("*.incoming"))


CUT_OFF = jpeg(1)[:-40]
NO_PICTURE = b"<html>no picture</html>"


def damaged_inside() -> bytes:
    """A photograph with the right beginning and end, and noise in between."""
    whole = bytearray(photograph())
    middle = len(whole) // 2
    whole[middle : middle + 800] = random.Random(3).randbytes(800)
    return bytes(whole)


@pytest.mark.parametrize(
    "data",
    [CUT_OFF, NO_PICTURE, b"\xff\xd8\xff\xd9", damaged_inside()],
    ids=["cut off", "no picture", "empty", "damaged inside"],
)
def test_damaged_pictures_are_left_out_counted_and_not_fetched_again(tmp_path: Path, data: bytes) -> None:
    async def story() -> None:
        loop = a_loop(3)
        loop.pictures["id-1"] = data
        folder = tmp_path / "images"
        for _ in range(2):
            fetched = await Images(folder).fetch(loop, [*loop.pictures, "gone"], nobody)
            assert (list(fetched.stored), fetched.skipped) == (["id-0", "id-2"], 2)
        assert loop.asked.count("id-1") == 1
        assert (folder / f"id-1.jpg{DAMAGED}").exists()

        loop.pictures["id-1"] = jpeg(1)
        Images(folder).forget_damage()
        assert "id-1" in (await Images(folder).fetch(loop, list(loop.pictures), nobody)).stored

    run_in_virtual_time(story())


@in_virtual_time
async def test_a_full_disk_is_said_and_leaves_no_half_pictures(tmp_path: Path) -> None:
    class Full(FileSystem):
        left = 4

        def create_exclusive(self, path: Path):  # type: ignore[no-untyped-def]
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().create_exclusive(path)

    loop = a_loop(20)
    with pytest.raises(NoRoom, match="make room"):
        await Images(tmp_path / "images", Full()).fetch(loop, list(loop.pictures), nobody)
    assert len(list((tmp_path / "images").glob("*.jpg"))) == 4
    fetched = await Images(tmp_path / "images").fetch(loop, list(loop.pictures), nobody)
    assert len(fetched.stored) == 20


@in_virtual_time
async def test_without_an_inspection_nothing_gets_its_name_and_what_was_inspected_stays(tmp_path: Path) -> None:
    asked: list[int] = []

    def inspect(pictures: Sequence[tuple[Path, bytes]]) -> list[Stored | DetectorApplianceError]:
        asked.append(len(pictures))
        if sum(asked) > AT_ONCE:
            raise ChildFailed("no process can be had")
        return [Stored("", 32, 24) for _ in pictures]

    loop = a_loop(30)
    with pytest.raises(ChildFailed):
        await Images(tmp_path / "images", inspect=inspect).fetch(loop, list(loop.pictures), nobody)
    assert len(list((tmp_path / "images").glob("*.jpg"))) == sum(asked[:-1])
    assert not list((tmp_path / "images").glob(f"*{DAMAGED}"))
    assert len((await Images(tmp_path / "images").fetch(loop, list(loop.pictures), nobody)).stored) == 30


def test_after_a_power_cut_whatever_has_its_name_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SYNC_EVERY", 2)
    monkeypatch.setattr(download, "AT_ONCE", 1)
    loop = a_loop(5)

    def act(files: FileSystem, root: Path) -> None:
        run_in_virtual_time(
            _fetched(Images(root / "images", files, lambda pictures: [Stored("", 32, 24)] * len(pictures)), loop)
        )

    cut_short, finished = disks_after_every_cut(tmp_path, lambda root: None, act)
    dice = random.Random(1)
    for disk in [*dice.sample(cut_short, min(60, len(cut_short))), *finished]:
        for path in (disk / "images").glob("*.jpg"):
            assert path.read_bytes() == loop.pictures[path.stem]
    again = dice.choice(cut_short)
    run_in_virtual_time(_fetched(Images(again / "images"), loop))
    assert {path.stem for path in (again / "images").glob("*.jpg")} == set(loop.pictures)


async def _fetched(images: Images, loop: Loop) -> None:
    await images.fetch(loop, list(loop.pictures), nobody)


@in_virtual_time
async def test_aborting_leaves_nothing_running_and_keeps_what_has_come(tmp_path: Path) -> None:
    loop = a_loop(40)
    fetching = asyncio.create_task(Images(tmp_path / "images").fetch(loop, list(loop.pictures), nobody))
    await asyncio.sleep(2.5)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert fetching.cancelled()
    assert loop.under_way == AT_ONCE  # they were told, and nobody waits for them
    assert len(list((tmp_path / "images").glob("*.jpg"))) == 20


@in_virtual_time
async def test_what_is_known_is_asked_for_by_the_hundred_and_comes_in_order() -> None:
    loop = a_loop(250)
    shares: list[float] = []
    known = await described(loop, [*loop.pictures, "deleted meanwhile"], shares.append)
    assert [image.id for image in known] == list(loop.pictures)
    assert sorted(loop.named) == [51, 100, 100]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert await described(loop, [], shares.append) == []


@pytest.mark.parametrize("id", ["../../etc/passwd", "a/b", ".", "..", "", "x" * 300, "ü", "a b", "a\0b"])
def test_no_id_leads_out_of_the_folder(id: str) -> None:
    name = file_name(id)
    assert name == Path(name).name
    assert len(name) == 64 + len(".jpg")
    assert name != file_name(id + "x")


def test_ids_of_the_loop_are_names_as_they_are() -> None:
    assert file_name("10f7d7d2-4076-7006-af37-fa28a6a848ae") == "10f7d7d2-4076-7006-af37-fa28a6a848ae.jpg"


@in_virtual_time
async def test_pictures_that_the_project_has_no_more_go(tmp_path: Path) -> None:
    loop = a_loop(4)
    images = Images(tmp_path / "images", FILE_SYSTEM)
    await images.fetch(loop, list(loop.pictures), nobody)
    assert images.keep_only(["id-1", "id-3"]) == 2
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["id-1.jpg", "id-3.jpg"]


@pytest.mark.parametrize(("said", "good"), [("a.jpg 32 x 24 OK", True), ("a.jpg WARNING extraneous bytes", False)])
def test_jpeginfo_is_asked_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, good: bool
) -> None:
    tool = tmp_path / "jpeginfo"
    tool.write_text(f'#!/bin/sh\ntest "$1" = -c && test -f "$2" && echo \'{said}\'\n')
    tool.chmod(0o755)
    monkeypatch.setattr(inspecting, "_jpeginfo", lambda: str(tool))
    loop = a_loop(1)
    fetched = run_in_virtual_time(Images(tmp_path / "images").fetch(loop, ["id-0"], nobody))
    assert (len(fetched.stored), fetched.skipped) == ((1, 0) if good else (0, 1))


def test_a_jpeginfo_that_hangs_costs_a_picture_and_one_that_is_gone_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(command: Sequence[str], **more: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(inspecting, "_jpeginfo", lambda: "/nowhere/jpeginfo")
    with pytest.raises(ChildFailed, match="jpeginfo cannot be started"):
        run_in_virtual_time(Images(tmp_path / "gone").fetch(a_loop(1), ["id-0"], nobody))
    monkeypatch.setattr(subprocess, "run", hangs)
    fetched = run_in_virtual_time(Images(tmp_path / "images").fetch(a_loop(1), ["id-0"], nobody))
    assert (len(fetched.stored), fetched.skipped) == (0, 1)


def test_storing_that_fails_while_everything_else_has_come_ends_it(tmp_path: Path) -> None:
    """The first picture is looked at while as many wait as may, and nobody takes them any more."""
    release = threading.Event()
    loop = a_loop(1 + AT_ONCE)

    async def at_once(image_id: str) -> bytes:
        loop.asked.append(image_id)
        return loop.pictures[image_id]

    def refused(_pictures: object) -> list[Stored | DetectorApplianceError]:
        release.wait(20)
        raise ChildFailed("there is no decoder")

    async def story() -> None:
        loop.download_image = at_once  # type: ignore[method-assign]
        fetching = asyncio.create_task(Images(tmp_path, inspect=refused).fetch(loop, list(loop.pictures), nobody))
        while len(loop.asked) < len(loop.pictures):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        release.set()
        with pytest.raises(ChildFailed, match="no decoder"):
            await asyncio.wait_for(fetching, 20)

    asyncio.run(story())


class AtOnce(Loop):
    """Takes no time; but one picture never comes."""

    async def download_image(self, image_id: str) -> bytes:
        if image_id == "never":
            await asyncio.Event().wait()
        return self.pictures[image_id]


def test_who_is_cancelled_is_cancelled_whatever_becomes_of_the_pictures_that_came(tmp_path: Path) -> None:
    """Else the training would go on to its next try, and who closes the trainer would wait for its end for ever."""
    held, loop = Held(), AtOnce({"one": jpeg(1)})

    def inspect(_pictures: Sequence[tuple[Path, bytes]]) -> list[Stored | DetectorApplianceError]:
        held.here()
        raise ChildFailed("the decoder does not start")

    async def story() -> None:
        images = Images(tmp_path, inspect=inspect)
        assert not await held.cancelled(images.fetch(loop, ["one", "never"], nobody))

    asyncio.run(story())


def test_what_an_earlier_try_left_is_not_cleared_away_behind_its_back(tmp_path: Path) -> None:
    """A next try fetches into the same folder, under the same preliminary names."""
    held, loop = Held(), AtOnce({"one": jpeg(1)})
    (tmp_path / "one.jpg.incoming").write_bytes(b"half")

    async def story() -> None:
        images = Images(tmp_path, HeldFiles(held, "remove", "one.jpg.incoming"))
        assert not await held.cancelled(images.fetch(loop, ["one"], nobody))

    asyncio.run(story())
