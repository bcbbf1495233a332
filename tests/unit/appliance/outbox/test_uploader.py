"""Pictures on their way to the Loop, in virtual time: whatever the Loop does, none is lost, and nobody hammers it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event

import pytest

from appliance.outbox.courtesy import LONGEST_PAUSE, MOST_AT_ONCE
from appliance.outbox.delivery import within
from appliance.outbox.queue import MODE_FILE, Outbox
from appliance.outbox.room import Count, OutboxBounds
from appliance.outbox.uploader import Uploader
from models.errors import (
    LoginFailed,
    LoopBusy,
    LoopError,
    LoopRefused,
    LoopUnreachable,
    NoRoom,
    NotInLoop,
    StorageRefused,
)
from models.files import FILE_SYSTEM, FileSystem
from models.loop.uploads import ImageUpload
from models.wire.image_metadata import ImageMetadata
from tests.support.held_threads import Held, HeldFiles
from tests.support.virtual_time import in_virtual_time
from tests.unit.appliance.outbox.conftest import Clock
from tests.unit.appliance.outbox.fake_loop import ASKED_FOR, FakeLoop, fill, sending, until

HOUR = 3600.0


def empty(outbox: Outbox) -> bool:
    return outbox.stats().total == Count()


@in_virtual_time
async def test_everything_arrives_under_its_name_and_nothing_is_left(outbox: Outbox, root: Path) -> None:
    saved = fill(outbox, 100)
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await until(lambda: empty(outbox))
        assert sorted(loop.has) == saved
        assert [loop.count(item_id) for item_id in saved] == [1] * 100
        assert outbox.tallies()["sent"] == 100
        assert outbox.tallies()["sent_bytes"] >= 100 * 100
        await until(lambda: uploader.status().state == "idle")
    assert list(root.rglob("*.jpg")) == []
    assert not list((root / "normal").iterdir())


@in_virtual_time
async def test_requests_are_bounded_and_more_are_under_way_while_all_goes_well(outbox: Outbox) -> None:
    fill(outbox, 400)
    loop = FakeLoop()
    async with sending(outbox, loop):
        await until(lambda: empty(outbox))
    assert max(len(request.ids) for request in loop.requests) == 20
    assert len(loop.requests[0].ids) == 20
    assert 1 < loop.most_at_once <= MOST_AT_ONCE


@in_virtual_time
async def test_priority_goes_first(outbox: Outbox) -> None:
    fill(outbox, 60)
    first = [outbox.save(b"now!", ASKED_FOR, priority=True) for _ in range(5)]
    loop = FakeLoop()
    async with sending(outbox, loop):
        await until(lambda: empty(outbox))
    assert list(loop.requests[0].ids[:5]) == first


@in_virtual_time
async def test_what_comes_while_nothing_is_sent_gathers_and_goes_within_two_seconds(outbox: Outbox) -> None:
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await until(lambda: uploader.status().state == "idle")
        for _ in range(3):
            await asyncio.to_thread(fill, outbox, 2)
            await asyncio.sleep(0.1)
        assert await until(lambda: len(loop.has) == 6) < 2.0
        assert len(loop.requests) == 1


@in_virtual_time
async def test_a_line_with_a_bound_carries_no_more_than_that(outbox: Outbox) -> None:
    fill(outbox, 40, size=100_000)
    loop = FakeLoop()
    async with sending(outbox, loop, max_mbit=8.0):
        took = await until(lambda: empty(outbox))
    assert 3.5 <= took <= 6.0, "4 MB at a megabyte a second"
    for begin in range(3):
        second = [size for moment, size in loop.bytes_in if begin <= moment - loop.bytes_in[0][0] < begin + 1]
        assert sum(second) <= 1.3e6


@in_virtual_time
async def test_a_hundred_boxes_that_start_together_do_not_ask_together(tmp_path: Path) -> None:
    first = []
    for number in range(20):
        outbox = Outbox(
            tmp_path / str(number), OutboxBounds(10, 10**9, 0), lambda: datetime.now(timezone.utc), FILE_SYSTEM
        )
        fill(outbox, 1)
        loop = FakeLoop()
        began = asyncio.get_running_loop().time()
        async with sending(outbox, loop, start_within=5.0, chance=number / 19):
            await until(lambda outbox=outbox: empty(outbox))  # type: ignore[misc]
        first.append(loop.requests[0].began - began)
        outbox.close()
    assert max(first) - min(first) >= 4.5


# -- the Loop is away, busy, or not what it should be ------------------------------------------------------------------


@in_virtual_time
async def test_a_loop_that_is_away_for_hours_is_not_hammered_and_gets_everything_when_it_is_back(
    outbox: Outbox,
) -> None:
    saved = fill(outbox, 100)
    loop = FakeLoop(lambda _: LoopUnreachable("no connection to the Learning Loop"))
    async with sending(outbox, loop) as uploader:
        await asyncio.sleep(6 * HOUR)
        assert max(loop.pauses) <= LONGEST_PAUSE + 1.0
        assert len(loop.requests) <= 6 * HOUR / (LONGEST_PAUSE / 2) + 10
        assert min(loop.pauses[8:]) >= LONGEST_PAUSE / 2
        status = uploader.status()
        assert (status.state, status.last_error) == ("waiting", "no connection to the Learning Loop")
        assert status.retry_in is not None
        assert 0 <= status.retry_in <= LONGEST_PAUSE
        assert outbox.stats().total.items == 100
        loop.answer = lambda _: None
        assert await until(lambda: empty(outbox)) <= LONGEST_PAUSE + 30.0
    assert sorted(loop.has) == saved
    assert outbox.stats().rejected == Count()


@pytest.mark.parametrize(
    "error",
    [
        LoginFailed("who are you?", 401),
        NotInLoop("no such project", 404),
        LoopBusy("internal server error", 500),
        LoopBusy("too many requests", 429),
        LoopUnreachable("a web page", 200),
        LoopUnreachable("something that is no JSON", 200),
        LoopRefused("bad request", 400),
    ],
    ids=lambda error: f"{error.status} {error}",
)
def test_whatever_it_answers_pictures_are_kept_and_sent_when_it_is_itself_again(
    outbox: Outbox, error: LoopError
) -> None:
    @in_virtual_time
    async def story() -> None:
        saved = fill(outbox, 50)
        loop = FakeLoop(lambda _: error)
        async with sending(outbox, loop) as uploader:
            await asyncio.sleep(HOUR)
            assert outbox.stats().total.items == 50
            assert outbox.stats().rejected == Count()
            assert uploader.status().last_error == str(error)
            assert len(loop.requests) <= 60
            loop.answer = lambda _: None
            await until(lambda: empty(outbox), within=2 * LONGEST_PAUSE)
        assert sorted(loop.has) == saved

    story()


@in_virtual_time
async def test_what_the_loop_asks_for_is_waited_for(outbox: Outbox) -> None:
    fill(outbox, 30)
    loop = FakeLoop(lambda _: LoopBusy("too many requests", 429, retry_after=700.0))
    async with sending(outbox, loop):
        await until(lambda: len(loop.requests) == 3)
        assert all(700.0 <= pause <= 711.0 for pause in loop.pauses)
        loop.answer = lambda _: None
        await until(lambda: empty(outbox))


@in_virtual_time
async def test_a_busy_loop_gets_fewer_requests_at_once(outbox: Outbox) -> None:
    fill(outbox, 500)
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await until(lambda: uploader.status().requests == MOST_AT_ONCE, step=0.01)
        loop.answer = lambda _: LoopBusy("too many requests", 429)
        await until(lambda: uploader.status().state == "waiting", step=0.01)
        assert uploader.status().requests == MOST_AT_ONCE // 2
        loop.answer = lambda _: None
        await until(lambda: empty(outbox))


@in_virtual_time
async def test_a_request_that_hangs_is_given_up_and_smaller_ones_are_tried(outbox: Outbox) -> None:
    saved = fill(outbox, 40)
    hanging, hung = asyncio.Event(), list[int]()

    class Hanging(FakeLoop):
        async def upload_images(self, batch: Sequence[ImageUpload], **options: object) -> None:
            if len(batch) > 5:
                hung.append(len(batch))
                await hanging.wait()
            await super().upload_images(batch)

    loop = Hanging()
    async with sending(outbox, loop) as uploader:
        await asyncio.sleep(200.0)
        assert "did not take 20 pictures within" in str(uploader.status().last_error)
        await until(lambda: len(loop.has) >= 5)
        assert hung == [20, 10]
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved


@in_virtual_time
async def test_a_loop_that_stores_and_then_loses_the_connection_has_everything_once(outbox: Outbox) -> None:
    saved = fill(outbox, 45)
    chances = iter([True, False, True, True] + [False] * 100)

    class Forgetful(FakeLoop):
        async def upload_images(self, batch: Sequence[ImageUpload], **options: object) -> None:
            await super().upload_images(batch)
            if next(chances):
                raise LoopUnreachable("the connection broke off")

    loop = Forgetful()
    async with sending(outbox, loop):
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved
    assert any(loop.count(item_id) > 1 for item_id in saved), "sent again, under the same name"


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_that_jumps_by_a_year_changes_nothing(tmp_path: Path, years: int) -> None:
    @in_virtual_time
    async def story() -> None:
        now = [datetime(2024, 5, 1, tzinfo=timezone.utc)]
        outbox = Outbox(tmp_path / "outbox", OutboxBounds(100, 10**9, 0), lambda: now[0], FILE_SYSTEM)
        saved = fill(outbox, 3)
        loop = FakeLoop(lambda _: LoopUnreachable("away"))
        uploader = Uploader(outbox, loop, start_within=0.0, clock=lambda: now[0])
        uploader.start()
        await asyncio.sleep(HOUR)
        now[0] += timedelta(days=365 * years)
        saved += await asyncio.to_thread(fill, outbox, 3)
        asked = len(loop.requests)
        await asyncio.sleep(HOUR)
        assert 10 <= len(loop.requests) - asked <= 30
        loop.answer = lambda _: None
        await until(lambda: empty(outbox), within=LONGEST_PAUSE + 30)
        assert sorted(loop.has) == sorted(saved)
        await uploader.close()
        outbox.close()

    story()


# -- pictures that the Loop does not want -----------------------------------------------------------------------------


@in_virtual_time
async def test_the_guilty_picture_is_found_and_set_aside_with_the_loops_words(outbox: Outbox, root: Path) -> None:
    saved = fill(outbox, 60)
    guilty = saved[23]

    def answer(batch: Sequence[ImageUpload]) -> LoopError | None:
        return LoopRefused("no JPEG: broken content", 422) if guilty in [each.id for each in batch] else None

    loop = FakeLoop(answer)
    async with sending(outbox, loop):
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == [item_id for item_id in saved if item_id != guilty]
    assert loop.count(guilty) <= 6, "20, 10, 5, 3, 2, 1"
    assert len(loop.requests) <= 3 + 2 * 5
    [rejected] = outbox.items(10, among=("rejected",)).items
    assert (rejected.id, rejected.reason) == (guilty, "no JPEG: broken content")
    assert (root / "rejected" / guilty / f"image_{guilty}.jpg").exists()
    assert '"reason": "no JPEG: broken content"' in (root / "rejected" / guilty / "reason.json").read_text()
    assert outbox.tallies()["rejected"] == 1


@in_virtual_time
async def test_a_loop_that_wants_none_of_them_loses_none_and_can_be_asked_again(outbox: Outbox) -> None:
    saved = fill(outbox, 25)
    loop = FakeLoop(lambda _: LoopRefused("we do not take pictures today", 422))
    async with sending(outbox, loop) as uploader:
        await until(lambda: outbox.stats().rejected.items == 25)
        assert empty(outbox)
        loop.answer = lambda _: None
        await asyncio.sleep(HOUR)
        assert loop.has == {}, "rejected pictures are a person's business"
        assert await asyncio.to_thread(outbox.retry) == 25
        uploader.retry_now()
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved
    assert outbox.stats().rejected == Count()


@in_virtual_time
async def test_a_batch_too_large_for_a_proxy_gets_through_in_parts(outbox: Outbox) -> None:
    saved = fill(outbox, 40)
    loop = FakeLoop(lambda batch: LoopRefused("request entity too large", 413) if len(batch) > 3 else None)
    async with sending(outbox, loop):
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved
    assert outbox.stats().rejected == Count()


@in_virtual_time
async def test_a_picture_that_makes_the_loop_fail_keeps_no_other_from_arriving(outbox: Outbox) -> None:
    saved = fill(outbox, 100)
    guilty = saved[0]

    def answer(batch: Sequence[ImageUpload]) -> LoopError | None:
        return LoopBusy("internal server error", 500) if guilty in [each.id for each in batch] else None

    loop = FakeLoop(answer)
    async with sending(outbox, loop) as uploader:
        await until(lambda: outbox.stats().total.items == 1, within=60.0)
        assert sorted(loop.has) == saved[1:]
        asked = loop.count(guilty)
        await asyncio.sleep(6 * HOUR)
        assert loop.count(guilty) - asked <= 6 * HOUR / (LONGEST_PAUSE / 2) + 10
        assert uploader.status().state == "waiting"
        new = await asyncio.to_thread(fill, outbox, 10)
        assert await until(lambda: set(new) <= set(loop.has)) < 5.0, "it makes nobody else wait"
        loop.answer = lambda _: None
        await until(lambda: empty(outbox), within=LONGEST_PAUSE + 5)
    assert guilty in loop.has


# -- stopping ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_stopped_means_that_nothing_leaves_after_the_answer_and_it_comes_within_a_second(outbox: Outbox) -> None:
    saved = fill(outbox, 200)
    loop = FakeLoop(seconds=30.0)
    now = asyncio.get_running_loop().time
    async with sending(outbox, loop) as uploader:
        await until(lambda: loop.under_way == 1)
        before = now()
        await uploader.set_mode("stopped")
        assert now() - before < 1.0
        assert (loop.under_way, loop.cut_off) == (0, 1)
        asked = len(loop.requests)
        await asyncio.to_thread(fill, outbox, 3)
        await asyncio.sleep(HOUR)
        assert len(loop.requests) == asked
        assert (uploader.status().state, outbox.mode) == ("stopped", "stopped")
        assert outbox.stats().total.items == 203
        loop.seconds = 0.05
        await uploader.set_mode("continuous_upload")
        await until(lambda: empty(outbox))
    assert set(saved) <= set(loop.has)


@in_virtual_time
async def test_stopping_and_going_on_again_and_again_loses_and_forgets_nothing(outbox: Outbox) -> None:
    saved = fill(outbox, 300)
    loop = FakeLoop(seconds=0.05)
    async with sending(outbox, loop) as uploader:
        for number in range(40):
            await asyncio.sleep(0.013 * (number % 11))
            await uploader.set_mode("stopped")
            assert loop.under_way == 0
            await uploader.set_mode("continuous_upload")
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved


@in_virtual_time
async def test_a_stopped_outbox_is_not_sent_after_a_start(outbox: Outbox) -> None:
    outbox.set_mode("stopped")
    fill(outbox, 3)
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await asyncio.sleep(HOUR)
        assert (loop.requests, uploader.status().state) == ([], "stopped")


@in_virtual_time
async def test_a_mode_that_cannot_be_stored_leaves_the_old_one_in_force(root: Path) -> None:
    class ReadOnly(FileSystem):
        broken = False

        def write_atomically(self, path: Path, data: bytes) -> None:
            if self.broken:
                raise OSError(30, "Read-only file system")
            super().write_atomically(path, data)

    files = ReadOnly()
    outbox = Outbox(root, OutboxBounds(100, 10**9, 0), lambda: datetime.now(timezone.utc), files)
    fill(outbox, 30)
    loop = FakeLoop(seconds=5.0)
    async with sending(outbox, loop) as uploader:
        await until(lambda: loop.under_way == 1)
        files.broken = True
        with pytest.raises(StorageRefused, match="Read-only"):
            await uploader.set_mode("stopped")
        await until(lambda: empty(outbox))
    outbox.close()


@in_virtual_time
async def test_a_pause_is_no_mode_and_ends(outbox: Outbox) -> None:
    fill(outbox, 3)
    loop = FakeLoop()
    uploader = Uploader(outbox, loop, start_within=0.0)
    uploader.start(paused=True)
    await asyncio.sleep(HOUR)
    assert (loop.requests, uploader.status().state, outbox.mode) == ([], "paused", "continuous_upload")
    uploader.set_paused(False)
    await until(lambda: empty(outbox))
    loop.seconds = 10.0
    await asyncio.to_thread(fill, outbox, 3)
    await until(lambda: loop.under_way == 1)
    uploader.set_paused(True)
    await asyncio.sleep(0.5)
    assert (loop.under_way, uploader.status().state) == (0, "paused")
    uploader.set_paused(False)
    await until(lambda: empty(outbox))
    await uploader.close()


@in_virtual_time
async def test_ending_cuts_off_what_is_under_way_and_the_next_start_sends_it(outbox: Outbox) -> None:
    saved = fill(outbox, 30)
    loop = FakeLoop(seconds=30.0)
    async with sending(outbox, loop):
        await until(lambda: loop.under_way == 1)
    assert loop.under_way == 0
    loop.seconds = 0.05
    async with sending(outbox, loop):
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved


@in_virtual_time
async def test_a_person_need_not_wait_for_the_next_try(outbox: Outbox) -> None:
    fill(outbox, 3)
    loop = FakeLoop(lambda _: LoopUnreachable("away"))
    async with sending(outbox, loop) as uploader:
        await asyncio.sleep(HOUR)
        await until(lambda: uploader.status().retry_in is not None and uploader.status().retry_in > 100.0)  # type: ignore[operator]
        loop.answer = lambda _: None
        uploader.retry_now()
        assert await until(lambda: empty(outbox)) < 1.0


@in_virtual_time
async def test_a_cancellation_that_comes_together_with_the_result_is_not_overlooked() -> None:
    done = asyncio.Event()

    async def story() -> None:
        await within(10.0, done.wait())
        raise AssertionError("went on although it was cancelled")

    task = asyncio.create_task(story())
    await asyncio.sleep(1.0)
    done.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- people, and disks ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_people_may_delete_anything_while_it_is_being_sent(outbox: Outbox, root: Path) -> None:
    saved = fill(outbox, 60)
    loop = FakeLoop(seconds=1.0)
    async with sending(outbox, loop):
        await until(lambda: loop.under_way == 1)
        for number, item_id in enumerate(saved):
            if number % 3 == 0:
                shutil.rmtree(root / "normal" / item_id)
            elif number % 3 == 1:
                (root / "normal" / item_id / f"image_{item_id}.jpg").unlink()
        await until(lambda: empty(outbox))
    assert {saved[number] for number in range(2, 60, 3)} <= set(loop.has)
    on_the_way = {item_id for request in loop.requests[:2] for item_id in request.ids}
    assert set(loop.has) <= set(saved[2::3]) | on_the_way, "one batch was on the line, and the next was read already"


@in_virtual_time
async def test_a_person_deletes_the_whole_outbox_and_sending_goes_on_with_what_comes(
    outbox: Outbox, root: Path
) -> None:
    fill(outbox, 50)
    loop = FakeLoop(seconds=1.0)
    async with sending(outbox, loop):
        await until(lambda: loop.under_way == 1)
        shutil.rmtree(root / "normal")
        await until(lambda: empty(outbox))
        new = await asyncio.to_thread(fill, outbox, 5)
        await until(lambda: set(new) <= set(loop.has), within=60.0)


@in_virtual_time
async def test_what_a_person_puts_into_the_folder_is_found_and_sent(outbox: Outbox, root: Path) -> None:
    loop = FakeLoop()
    async with sending(outbox, loop):
        await asyncio.sleep(10.0)
        folder = root / "normal" / "2020-01-31_12:34:56.789000"
        folder.mkdir()
        (folder / f"image_{folder.name}.jpg").write_bytes(b"from an older box")
        (folder / f"image_{folder.name}.json").write_text('{"tags": []}')
        await until(lambda: folder.name in loop.has)
    assert not folder.exists()


class StubbornDisk(FileSystem):
    """Takes pictures, and gives none back."""

    stubborn = True

    def rename(self, source: Path, target: Path) -> None:
        if self.stubborn and target.name.startswith(".removing-"):
            raise OSError(30, "Read-only file system")
        super().rename(source, target)


@in_virtual_time
async def test_a_disk_that_deletes_nothing_does_not_have_everything_sent_for_ever(root: Path) -> None:
    outbox = Outbox(root, OutboxBounds(100, 10**9, 0), lambda: datetime.now(timezone.utc), StubbornDisk())
    saved = fill(outbox, 30)
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await asyncio.sleep(HOUR)
        assert [loop.count(item_id) for item_id in saved] == [1] * 30
        assert "delete pictures that were sent" in str(uploader.status().last_error)
    outbox.close()


@in_virtual_time
async def test_a_disk_that_cannot_be_read_is_tried_again_with_pauses(outbox: Outbox, root: Path) -> None:
    saved = fill(outbox, 3)
    for item_id in saved:
        picture = root / "normal" / item_id / f"image_{item_id}.jpg"
        picture.rename(picture.with_suffix(".away"))
        picture.mkdir()  # a folder cannot be read, whoever one is
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await asyncio.sleep(60.0)
        assert "read the next pictures" in str(uploader.status().last_error)
        assert loop.requests == []
        for item_id in saved:
            picture = root / "normal" / item_id / f"image_{item_id}.jpg"
            picture.rmdir()
            picture.with_suffix(".away").rename(picture)
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved


@in_virtual_time
async def test_stopping_while_pictures_are_read_leaves_them_to_be_sent_later(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = fill(outbox, 30)
    reading, go_on = Event(), Event()
    take = outbox.take

    def slow(max_items: int, *, suspect: bool = False) -> object:
        taken = take(max_items, suspect=suspect)
        reading.set()
        assert go_on.wait(30.0)
        return taken

    monkeypatch.setattr(outbox, "take", slow)
    loop = FakeLoop()
    async with sending(outbox, loop) as uploader:
        await asyncio.to_thread(reading.wait, 30.0)
        stopping = asyncio.create_task(uploader.set_mode("stopped"))
        await asyncio.sleep(0)
        go_on.set()
        await stopping
        assert loop.requests == []
        await uploader.set_mode("continuous_upload")
        await until(lambda: empty(outbox))
    assert sorted(loop.has) == saved


@in_virtual_time
async def test_a_fault_of_the_program_is_told_and_sending_goes_on(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    fill(outbox, 3)

    def faulty(_batch: Sequence[ImageUpload]) -> LoopError | None:
        loop.answer = lambda _: None
        raise ZeroDivisionError("a fault")

    loop = FakeLoop(faulty)
    async with sending(outbox, loop):
        await until(lambda: empty(outbox), within=60.0)
    assert "ZeroDivisionError: a fault" in caplog.text


@in_virtual_time
async def test_automatic_picks_that_are_being_sent_are_not_thinned(root: Path) -> None:
    outbox = Outbox(root, OutboxBounds(20, 10**9, 0), lambda: datetime.now(timezone.utc), FILE_SYSTEM)
    fill(outbox, 20, metadata=ImageMetadata(tags=["uncertain"]))
    loop = FakeLoop(seconds=10.0)
    async with sending(outbox, loop):
        await until(lambda: loop.under_way == 1)
        with pytest.raises(NoRoom, match="The outbox is full"):
            await asyncio.to_thread(outbox.save, b"asked for", ASKED_FOR)
        await until(lambda: empty(outbox))
    assert outbox.tallies()["thinned"] == 0
    assert outbox.tallies()["sent"] == 20
    outbox.close()


def test_who_stops_it_and_leaves_has_stopped_it(tmp_path: Path, clock: Clock) -> None:
    """Else it would go on to send until the mode is written down."""
    held = Held()

    async def story() -> None:
        loop = FakeLoop()
        outbox = Outbox(
            tmp_path,
            OutboxBounds(1000, 1_000_000_000, 0),
            lambda: datetime.now(timezone.utc),
            HeldFiles(held, "remember", MODE_FILE),
        )
        uploader = Uploader(outbox, loop, start_within=0.0)
        uploader.start()
        assert not await held.cancelled(uploader.set_mode("stopped"))
        assert (outbox.mode, uploader.status().state) == ("stopped", "stopped")
        await uploader.close()
        outbox.close()

    asyncio.run(story())


@in_virtual_time
async def test_it_does_not_begin_anew_where_the_event_loop_ends(outbox: Outbox) -> None:
    """As it does for whoever presses Ctrl-C twice."""
    uploader = Uploader(outbox, FakeLoop())
    uploader.start()
    await asyncio.sleep(10.0)
    sending = [task for task in asyncio.all_tasks() if task.get_name() == "uploader"]
    for task in sending:
        task.cancel()
    await asyncio.wait(sending)
    await asyncio.sleep(0)
    assert [task.get_name() for task in asyncio.all_tasks()] == [asyncio.current_task().get_name()]  # type: ignore[union-attr]
    assert uploader.status().state == "stopped"
    await uploader.close()
