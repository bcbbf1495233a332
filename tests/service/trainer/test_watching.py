"""A training of an embedded loop as the trainer's page is told of it, and what the page tells the trainer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from models.image_headers import DEFAULT_LIMITS, read_header
from tests.service.running_loop import RunningLoop
from tests.service.trainer.test_killed import PATIENCE_S, begin, start
from tests.service.trainer.test_what_it_is_told import has_a_model, slot_taken
from tests.service.trainer.trainers import Place, until
from trainer_companion.samples import FILE, Sample, Samples, Seen
from trainer_companion.view import STEPS
from trainer_companion.watching import Watching


@pytest.fixture
def place(loop: RunningLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path / "trainer")


def test_a_training_is_told_while_it_runs_and_stopped_with_its_model(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "400", "--pause", "0.05") as trainer:
            watching = Watching(trainer)
            idle = await watching.feed.now()
            assert (idle.name, idle.condition.sentence) == (None, "Idle: trainings are begun in the Loop.")
            assert idle.condition.severity == "good"
            assert not idle.can_abort

            await place.begin(trainer)
            await has_a_model(trainer)
            await until(lambda: trainer.walk is not None and len(trainer.walk.watched.curve) > 1, "two points")
            view = await watching.feed.now()
            assert view.name == f"training 1 of acme/{place.shop.name}"
            assert view.step is not None
            assert STEPS[view.step] == "Training"
            assert view.doing == "training"
            assert view.share is not None
            assert view.can_stop
            assert len(view.curve.loss) > 1
            assert view.curve.map50[-1] is not None
            assert [row.name for row in view.rows] == ["bolt"]
            assert "Best mAP50" in {name for name, _, _ in view.numbers}
            assert view.lines == ("some library says hello",)
            assert view.pictures == (), "this training leaves none"

            await watching.stop()
            assert trainer.run is None or trainer.run.stopping
            await until(lambda: trainer.walk is None, "the end")
            ended = await watching.feed.now()
            assert ended.name == view.name, "who comes later sees how it went"
            assert ended.step is None
            assert not ended.can_stop
            assert not ended.can_abort
            assert "is finished" in ended.condition.sentence
            assert len(ended.curve.loss) >= len(view.curve.loss)
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"
            assert trainer.last.model_id is not None, "its model was kept"

    asyncio.run(story())


def test_pictures_are_those_that_the_training_left_and_none_else(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "400", "--pause", "0.05") as trainer:
            watching = Watching(trainer)
            await place.begin(trainer)
            await has_a_model(trainer)
            run = trainer.run
            assert run is not None
            file = next(path.name for path in trainer.folders.images(run).iterdir() if path.suffix == ".jpg")
            seen = Samples(
                epoch=1,
                pictures=(
                    Sample(
                        file=file,
                        width=64,
                        height=48,
                        things=1,
                        found=(Seen(category="bolt", confidence=0.9, box=(1, 2, 3, 4)),),
                    ),
                    Sample(file="../../annotations.json", width=64, height=48, things=0),
                ),
            )
            (trainer.folders.job(run) / FILE).write_text(seen.model_dump_json())
            best = run.best
            await until(lambda: run.best is not best, "a better model")

            view = await watching.feed.now()
            assert view.sight == "epoch 1"
            assert [picture.source for picture in view.pictures] == [f"/pictures/samples/{run.id}/{n}" for n in (0, 1)]
            assert [mark.words for mark in view.pictures[0].marks] == ["bolt 90%"]
            jpeg = await watching.picture(run.id, 0)
            assert jpeg is not None
            assert read_header(jpeg, DEFAULT_LIMITS).width > 0
            assert await watching.picture(run.id, 1) is None
            assert await watching.picture(run.id, 2) is None
            assert await watching.picture("another", 0) is None

            await watching.abort()
            gone = await watching.feed.now()
            assert gone.pictures == ()
            assert "was aborted" in gone.condition.sentence
            assert trainer.last is not None
            assert trainer.last.outcome == "aborted"
            assert await watching.picture(run.id, 0) is None

    asyncio.run(story())


def test_what_keeps_it_is_told_with_the_way_out(place: Place, tmp_path: Path) -> None:
    lock = tmp_path / "slot"

    async def story() -> None:
        trainer = place.trainer(settings=place.settings(training_slot_lock=lock))
        try:
            await trainer.start()
            with slot_taken(lock):
                view = await Watching(trainer).feed.now()
            assert "held by pid 4711 on gpu" in view.condition.sentence
            [trouble] = view.condition.troubles
            assert trouble.reason.startswith("Not speaking to http://")
            assert "PUT /socketio" in trouble.way_out
        finally:
            await trainer.close()
            await trainer.connection.close()

    asyncio.run(story())


def test_a_training_that_failed_says_why(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        async with place.running("--epochs", "1", "--empty", "--fail", "No picture has a box.") as trainer:
            await place.begin(trainer)
            await until(lambda: trainer.last is not None, "the end")
            view = await Watching(trainer).feed.now()
            [trouble] = view.condition.troubles
            assert trouble.severity == "error"
            assert "No picture has a box." in trouble.way_out
            assert view.condition.sentence.endswith("failed.")

    asyncio.run(story())


def test_after_kill_and_a_restart_the_whole_curve_is_shown(place: Place) -> None:
    place.annotated(3)
    with start(place, "running", 0) as killed:  # as soon as it is written down that the process has come to its end
        begin(place, None)
        assert killed.wait(PATIENCE_S) == -9

    async def story() -> None:
        trainer = place.trainer("--epochs", "3")  # nobody speaks to the loop yet: it goes no further
        try:
            await trainer.start()
            view = await Watching(trainer).feed.now()
            assert view.name == f"training 1 of acme/{place.shop.name}"
            assert (view.curve.begin, view.curve.end) == ("epoch 1", "epoch 3")
            assert view.curve.loss == pytest.approx((1, 1 / 2, 1 / 3))
            assert view.curve.map50 == pytest.approx((10, 20, 30))
        finally:
            await trainer.close()
            await trainer.connection.close()

    asyncio.run(story())


def test_a_training_that_goes_on_goes_on_with_its_curve(place: Place) -> None:
    place.annotated(3)

    async def story() -> None:
        # Closed in a pause that is long enough for a busy machine: what is said then is not heard any more.
        async with place.running("--epochs", "8", "--pause", "3") as trainer:
            await place.begin(trainer)
            await until(lambda: trainer.walk is not None and len(trainer.walk.watched.curve) >= 2, "two points")
        async with place.running("--epochs", "8") as trainer:
            await until(lambda: trainer.walk is None, "the end")
            view = await Watching(trainer).feed.now()
            assert view.curve.loss == pytest.approx([1 / epoch for epoch in range(1, 9)])

    asyncio.run(story())
