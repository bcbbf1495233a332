"""What becomes of pictures: the queue, and the second chance that each has when a worker dies or hangs."""

from __future__ import annotations

import asyncio

import pytest

from appliance.inference.supervisor import Counters, InferenceLimits, Picture
from models.errors import (
    ImageUnreadable,
    ModelFailed,
    NoModel,
    OutputsImplausible,
    Overloaded,
    WorkerLost,
)
from tests.support.fake_workers import a_bundle
from tests.support.supervised import CPU, REST, SOCKETIO, now, until_asked
from tests.support.supervised import SupervisedBox as Box
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_picture_is_looked_at() -> None:
    async with Box() as box:
        await box.load()
        seen = await box.supervisor.detect(Picture(b"cat"), REST)
        assert (seen.width, seen.height) == (640, 480)
        assert seen.detections["in"] == "cat"
        assert seen.timings == {"wait": 0.0, "decode": 1.0, "inference": 2.0, "postprocess": 0.5}


@in_virtual_time
async def test_time_in_the_queue_counts_as_waiting() -> None:
    async with Box() as box:
        await box.load()
        others = [box.ask(f"other {number}") for number in range(3)]
        await asyncio.sleep(0)
        seen = await box.supervisor.detect(Picture(b"cat"), REST)
        assert seen.timings["wait"] == pytest.approx(50.0)  # until one of the three before it was answered
        await asyncio.gather(*others)


@in_virtual_time
async def test_before_the_first_model_there_is_none() -> None:
    async with Box() as box:
        with pytest.raises(NoModel, match="appliance models use"):
            await box.ask("cat")
        assert box.supervisor.serving is None


@in_virtual_time
async def test_the_worker_is_told_what_the_settings_say() -> None:
    limits = InferenceLimits(max_image_bytes=7, max_image_pixels=8, floor=0.2, load_deadline=33.0)
    async with Box(limits=limits) as box:
        await box.load(a_bundle("3.1"))
        [order] = box.workshop.orders
        assert (order.folder, order.choice, order.cache) == ("model-3.1", CPU, "cache")
        assert (order.max_bytes, order.max_pixels, order.floor) == (7, 8, 0.2)
        assert box.workshop.deadlines == [33.0]


@in_virtual_time
async def test_what_a_model_is_sure_of_is_found_even_below_what_counts_as_uncertain() -> None:
    """Its trainer chose a threshold of 0.1."""
    async with Box(limits=InferenceLimits(floor=0.3)) as box:
        bundle = a_bundle()
        bundle.model.conf_threshold = 0.1
        await box.load(bundle)
        assert box.workshop.orders[0].floor == 0.1


@in_virtual_time
async def test_the_queue_is_bounded_in_length() -> None:
    async with Box(limits=InferenceLimits(queue_depth=4)) as box:
        await box.load()
        outcomes = await box.ask_all(*(f"picture {number}" for number in range(9)))
        assert outcomes[:7] == [f"picture {number}" for number in range(7)]  # three with the worker, four in the queue
        for refused in outcomes[7:]:
            assert isinstance(refused, Overloaded)
            assert refused.retry_after > 0
        assert box.supervisor.counters.refused_full == 2


@in_virtual_time
async def test_the_queue_is_bounded_in_time_for_each_picture_as_it_asks() -> None:
    async with Box() as box:
        await box.load()
        busy = [box.ask(f"hang {number}") for number in range(3)]
        await until_asked(box.worker, 3)
        began = now()
        waiting = {limit: box.ask("cat", limit) for limit in (SOCKETIO, REST / 2)}
        for limit, task in waiting.items():
            with pytest.raises(Overloaded, match=rf"waited {limit:g} s") as refused:
                await task
            assert now() - began == pytest.approx(limit)
            assert refused.value.retry_after > 0
        assert box.supervisor.queue_length == 0
        assert box.supervisor.counters.refused_old == 2
        for task in busy:
            task.cancel()


@in_virtual_time
async def test_what_was_refused_is_never_run() -> None:
    async with Box() as box:
        await box.load()
        box.worker.seconds = 3.0
        tasks = [box.ask(f"slow {number}") for number in range(3)]
        late = box.ask("late", SOCKETIO)
        outcomes = await asyncio.gather(*tasks, late, return_exceptions=True)
        assert outcomes[:3] == ["slow 0", "slow 1", "slow 2"]
        assert isinstance(outcomes[3], Overloaded)
        assert "late" not in box.worker.asked


@in_virtual_time
async def test_first_come_first_served() -> None:
    async with Box() as box:
        await box.load()
        texts = [f"picture {number}" for number in range(20)]
        assert await box.ask_all(*texts) == texts
        assert box.worker.asked == texts


@in_virtual_time
async def test_the_worker_has_only_a_few_pictures_at_a_time() -> None:
    async with Box() as box:
        await box.load()
        tasks = [box.ask(f"picture {number}") for number in range(10)]
        await asyncio.sleep(0.01)
        assert box.worker.busy == 3
        assert box.supervisor.queue_length == 7
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_who_has_gone_away_is_skipped_and_takes_no_place() -> None:
    async with Box(limits=InferenceLimits(queue_depth=2)) as box:
        await box.load()
        first = [box.ask(f"picture {number}") for number in range(3)]
        gone = [box.ask(f"gone {number}") for number in range(2)]
        await asyncio.sleep(0.01)
        for task in gone:
            task.cancel()
        await asyncio.sleep(0)
        assert box.supervisor.queue_length == 0
        assert await box.ask("late") == "late"
        await asyncio.gather(*first)
        assert not any(text.startswith("gone") for text in box.worker.asked)


@in_virtual_time
async def test_who_goes_away_at_the_very_moment_of_its_turn_is_skipped() -> None:
    async with Box() as box:
        await box.load()
        others = [box.ask(f"picture {number}") for number in range(3)]
        gone, last = box.ask("gone"), box.ask("last")
        await asyncio.sleep(0.01)
        box.worker.finish()
        gone.cancel()
        assert await asyncio.gather(*others, last) == ["picture 0", "picture 1", "picture 2", "last"]
        assert box.worker.asked == ["picture 0", "picture 1", "picture 2", "last"]


@in_virtual_time
async def test_a_picture_for_which_there_is_no_memory_is_refused_and_no_other() -> None:
    async with Box() as box:
        await box.load()
        texts = ["huge", *(f"picture {number}" for number in range(5)), "huge", "last"]
        outcomes = await box.ask_all(*texts)
        assert [outcome for outcome in outcomes if isinstance(outcome, str)] == [*texts[1:6], "last"]
        assert [type(outcome) for outcome in outcomes if not isinstance(outcome, str)] == [Overloaded] * 2
        assert box.supervisor.counters == Counters()


@in_virtual_time
async def test_who_has_gone_away_is_not_tried_again() -> None:
    async with Box() as box:
        await box.load()
        gone, other = box.ask("gone"), box.ask("other")
        await asyncio.sleep(0.01)
        gone.cancel()
        box.worker.die()
        assert await other == "other"
        assert box.workshop.workers[1].asked == ["other"]


@in_virtual_time
async def test_a_worker_that_dies_is_replaced_and_nobody_notices() -> None:
    async with Box() as box:
        await box.load()
        texts = [f"picture {number}" for number in range(8)]
        tasks = [box.ask(text) for text in texts]
        await asyncio.sleep(0.06)
        box.worker.die()
        assert await asyncio.gather(*tasks) == texts
        first, second = box.workshop.workers
        assert first.asked == texts[:4]
        assert second.asked == texts[1:]  # those that were under way, once more and in order, then the others
        assert box.supervisor.counters == Counters(restarts=1, retries=3)


@in_virtual_time
async def test_pictures_that_come_while_nobody_serves_wait_for_the_successor() -> None:
    async with Box() as box:
        await box.load()
        box.worker.die()
        await asyncio.sleep(0.1)
        assert box.supervisor.worker is None
        assert await box.ask("cat") == "cat"


@in_virtual_time
async def test_no_picture_is_given_to_a_worker_that_is_dying() -> None:
    """It is seen that it hung up before it is seen that it is gone: a picture that comes in between is no second try."""
    async with Box() as box:
        await box.load()
        dying = box.worker
        dying.hang_up()
        tasks = [box.ask(f"picture {number}") for number in range(5)]
        await asyncio.sleep(0.3)
        dying.die()
        assert await asyncio.gather(*tasks) == [f"picture {number}" for number in range(5)]
        assert dying.asked == []
        assert box.supervisor.counters.retries == 0


@in_virtual_time
async def test_a_worker_that_cannot_be_reached_keeps_the_picture_in_the_queue() -> None:
    """The channel breaks at the very moment in which a picture is given to it."""
    async with Box() as box:
        await box.load()
        worker = box.worker

        def broken_pipe(header: object, payload: object) -> asyncio.Future[dict[str, object]]:
            worker.die()
            raise WorkerLost("The inference worker takes no pictures: Broken pipe")

        worker.ask = broken_pipe  # type: ignore[method-assign] # this one cannot even be asked
        assert await box.ask_all("cat", "dog") == ["cat", "dog"]
        assert box.supervisor.counters == Counters(restarts=1)


@in_virtual_time
async def test_a_picture_that_kills_its_worker_twice_is_told_so_and_takes_nobody_along() -> None:
    async with Box() as box:
        await box.load()
        outcomes = await box.ask_all("cat", "poison", "dog", "cow", "hen")
        assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["cat", "dog", "cow", "hen"]
        assert isinstance(outcomes[1], WorkerLost)
        assert "so did the one that took over" in str(outcomes[1])
        assert len(box.workshop.workers) == 3
        assert box.supervisor.counters == Counters(restarts=2, retries=3)
        assert box.unfit == []


@in_virtual_time
async def test_a_worker_that_hangs_is_killed_and_its_picture_tried_again() -> None:
    async with Box() as box:
        await box.load()
        task = box.ask("cat")
        await asyncio.sleep(0.01)
        box.worker.freeze()
        began = now()
        assert await task == "cat"
        assert now() - began == pytest.approx(10.0 + 1.0 + 0.05, abs=0.02)  # deadline, loading, looking
        assert box.supervisor.counters == Counters(restarts=1, hangs=1, retries=1)


@in_virtual_time
async def test_a_worker_that_hangs_after_a_while_is_killed_a_deadline_after_its_last_answer() -> None:
    async with Box(limits=InferenceLimits(inference_deadline=1.0)) as box:
        box.workshop.seconds = 0.9
        await box.load()
        began = now()
        cat, hanging = await box.ask_all("cat", "hang")
        assert cat == "cat"
        assert isinstance(hanging, WorkerLost)
        assert now() - began == pytest.approx(0.9 + 1.0 + 1.0 + 1.0, abs=0.01)  # and loading, and once more


@in_virtual_time
async def test_a_picture_that_always_hangs_ends_after_two_deadlines() -> None:
    async with Box() as box:
        await box.load()
        with pytest.raises(WorkerLost):
            await box.ask("hang")
        assert box.supervisor.counters == Counters(restarts=2, hangs=2, retries=1)


@in_virtual_time
async def test_a_slow_worker_that_answers_now_and_then_is_left_alone() -> None:
    async with Box(limits=InferenceLimits(inference_deadline=1.0)) as box:
        box.workshop.seconds = 0.9
        await box.load()
        texts = [f"picture {number}" for number in range(9)]
        assert await box.ask_all(*texts) == texts  # 8 s in all, never a second without an answer
        assert box.supervisor.counters == Counters()


@in_virtual_time
async def test_a_new_worker_that_hangs_is_seen_while_the_old_one_still_answers() -> None:
    """Each worker has a watchdog of its own: what the old one answers is no sign of life of the new one."""
    async with Box(limits=InferenceLimits(inference_deadline=2.0)) as box:
        box.workshop.seconds = 1.5
        await box.load(a_bundle("1.0"))
        old = [box.ask(f"old {number}") for number in range(3)]
        await asyncio.sleep(0.01)
        box.workshop.load_seconds = 0.0
        await box.load(a_bundle("2.0"))
        hanging = box.ask("hang")
        assert await asyncio.gather(*old) == ["old 0", "old 1", "old 2"]
        with pytest.raises(WorkerLost):
            await hanging
        assert box.supervisor.counters.hangs == 2


@in_virtual_time
async def test_a_runtime_that_fails_costs_its_worker_and_the_picture_is_tried_again() -> None:
    async with Box() as box:
        await box.load()
        with pytest.raises(ModelFailed, match="Edge TPU does not answer"):
            await box.ask("broken")
        assert await box.ask("cat") == "cat"
        assert len(box.workshop.workers) == 3  # the one that failed, the one that failed again, and one for the others


@in_virtual_time
async def test_a_runtime_that_fails_once_is_not_noticed() -> None:
    async with Box() as box:
        await box.load()
        assert await box.ask_all("faint", "cat") == ["faint", "cat"]
        assert box.supervisor.counters == Counters(restarts=1, retries=2)


@pytest.mark.parametrize(("text", "error"), [("nan", OutputsImplausible), ("unreadable", ImageUnreadable)])
def test_what_is_wrong_with_a_picture_is_said_of_that_picture_only(text: str, error: type[Exception]) -> None:
    @in_virtual_time
    async def story() -> None:
        async with Box() as box:
            await box.load()
            outcomes = await box.ask_all("cat", text, "dog")
            assert outcomes[0::2] == ["cat", "dog"]
            assert isinstance(outcomes[1], error)
            assert box.supervisor.counters == Counters()

    story()
