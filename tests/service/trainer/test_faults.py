"""What goes wrong while a trainer trains: the Loop, the disk, the training itself. It says so, and tries again if it helps."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.files import FileSystem
from models.loop.client import LoopClient
from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import jpeg, metadata, pair
from tests.service.running_loop import RunningLoop
from tests.service.trainer.trainers import Place, until
from tests.support.faulty_transport import Fault, FaultyTransport
from trainer_companion.children import ChildFailed
from trainer_companion.node import Trainer
from trainer_companion.workplace import Workplace


@pytest.fixture
def place(loop: RunningLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path / "trainer")


class Watch:
    """Sleeps for a moment instead of seconds, and notes how the trainer stood when it waited before another try."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self.waited: list[tuple[float, str, dict[str, str]]] = []

    async def __call__(self, seconds: float) -> None:
        assert self.trainer is not None
        trying_again = self.trainer.walk is not None and self.trainer.walk.during is None
        if trying_again and seconds > 0:
            self.waited.append((seconds, self.trainer.state, dict(self.trainer.errors)))
        await asyncio.sleep(min(seconds, 0.05))

    @property
    def delays(self) -> list[float]:
        return [seconds for seconds, _, _ in self.waited]


@asynccontextmanager
async def trainer_with(
    place: Place, *options: str, faults: Iterable[Fault] = (), **given: Any
) -> AsyncIterator[tuple[Trainer, Watch, FaultyTransport]]:
    watch, transport = Watch(), FaultyTransport(list(faults))
    client = LoopClient(place.loop.host, transport=transport)
    async with place.running(*options, client=client, sleep=watch, **_watched(watch, given)) as trainer:
        watch.trainer = trainer
        yield trainer, watch, transport


def _watched(watch: Watch, given: dict[str, Any]) -> dict[str, Any]:
    """The trainer waits already while it starts, before anybody has it: until then nothing is of interest."""
    watch.trainer = _Nobody()  # type: ignore[assignment]
    return given


class _Nobody:
    walk = None


async def over(trainer: Trainer) -> None:
    await until(lambda: trainer.run is None, f"the end of the training; errors: {trainer.errors}")


@pytest.mark.parametrize(
    ("asked", "key", "state"),
    [
        ("GET .*/data", "prepare", "initialized"),
        ("GET .*/images", "prepare", "initialized"),
        ("GET .*/images/.*/main", "prepare", "initialized"),
        ("PUT .*/appliance_pytorch/file", "upload_model", "confusion_matrix_synced"),
        ("PUT .*/onnx/file", "upload_model", "confusion_matrix_synced"),
        ("GET .*/models/.*/file", "detecting", "train_model_uploaded"),
        ("POST .*/detections", "upload_detections", "detected"),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [None, lambda: httpx.Response(503, json={"detail": "tomorrow"})],
    ids=["away", "busy"],
)
def test_where_the_loop_does_not_answer_it_is_asked_again(
    place: Place, asked: str, key: str, state: str, answer: Callable[[], httpx.Response] | None
) -> None:
    ids = place.annotated(2)
    # A connection that broke is tried twice at once, except where that could do harm.
    times = 4 if answer is None and "GET" in asked and "file" not in asked else 2

    async def story() -> None:
        faults = [Fault(asked, answer, 2 * times if "/main" in asked else times)]
        async with trainer_with(place, "--epochs", "1", faults=faults) as (trainer, watch, _):
            await place.begin(trainer)
            await over(trainer)
            assert watch.waited, "it was never tried again"
            assert watch.delays == [5.0 * 2**n for n in range(len(watch.delays))]
            for _, told, errors in watch.waited:
                assert told == state
                assert set(errors) == {key}
            assert trainer.errors == {}
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"
            assert (await place.ended())["state"] == "finished"
        [model] = await place.models()
        assert sorted(model["formats"]) == ["appliance_pytorch", "onnx"]

    asyncio.run(story())
    assert all(place.shop.image(id, model_version="1.0")["box_detections"] for id in ids)


def test_the_base_model_is_asked_for_again_and_a_zip_without_weights_is_not(place: Place) -> None:
    place.annotated(2)
    model = _uploaded(place.shop, {"model.json": json.dumps({"categories": []}).encode()})

    async def story() -> None:
        faults = [Fault("GET .*/models/.*/file", None, 2)]
        async with trainer_with(place, faults=faults) as (trainer, watch, _):
            await place.begin(trainer, base_model=model)
            await over(trainer)
            assert watch.delays == [5.0, 10.0]
            assert {told for _, told, _ in watch.waited} == {"data_downloaded"}
            assert set(trainer.errors) == {"download_model"}
            assert "base model" in trainer.errors["download_model"]
            assert trainer.last is not None
            assert trainer.last.outcome == "failed"

    asyncio.run(story())


def test_the_connection_may_be_lost_while_the_training_runs(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--epochs", "4", "--pause", "0.1") as (trainer, watch, _):
            await place.begin(trainer)
            await until(lambda: trainer.state == "running")
            await trainer.connection.switch(False)
            await until(lambda: len(watch.waited) >= 2)
            assert {(told, *errors) for _, told, errors in watch.waited} == {
                ("training_finished", "sync_confusion_matrix")
            }
            await trainer.connection.switch(True)
            await over(trainer)
            assert (await place.ended())["metrics"][-1]["metrics"]["best_epoch"] == 4

    asyncio.run(story())


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_a_model_that_the_loop_does_not_want_ends_the_training(place: Place, status: int) -> None:
    place.annotated(2)

    async def story() -> None:
        faults = [Fault("PUT .*", lambda: httpx.Response(status, json={"detail": "not like this"}))]
        async with trainer_with(place, "--epochs", "1", faults=faults) as (trainer, watch, _):
            await place.begin(trainer)
            await over(trainer)
            assert watch.delays == []
            assert set(trainer.errors) == {"upload_model"}
            assert "not like this" in trainer.errors["upload_model"]
            assert trainer.training_status().errors == trainer.errors

    asyncio.run(story())


def test_a_format_that_the_loop_has_already_counts_as_given(place: Place) -> None:
    ids = place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--epochs", "1") as (trainer, _, transport):
            conflict: dict[str, Any] = {}

            def has_it() -> httpx.Response:
                return httpx.Response(409, json={"detail": conflict})

            await place.begin(trainer)
            # As if it had been killed after the first upload, before that was written down.
            await until(lambda: trainer.run is not None and "appliance_pytorch" in trainer.run.uploaded)
            assert trainer.run is not None
            conflict["id"] = trainer.run.uploaded["appliance_pytorch"]
            transport.faults = [Fault("PUT .*/onnx/file", has_it)]
            await over(trainer)
            assert trainer.last is not None
            assert (trainer.last.outcome, trainer.last.model_id) == ("finished", conflict["id"])

    asyncio.run(story())
    assert place.shop.image(ids[0], model_version="1.0")["box_detections"]


def test_without_any_id_nothing_can_be_detected(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        faults = [Fault("PUT .*", lambda: httpx.Response(409, json={"detail": "there already"}), 2)]
        async with trainer_with(place, "--epochs", "1", faults=faults) as (trainer, _, _transport):
            await place.begin(trainer)
            await over(trainer)
            assert "never answered with its id" in trainer.errors["upload_model"]

    asyncio.run(story())


def test_without_onnx_the_model_is_given_all_the_same(place: Place) -> None:
    place.annotated(2)

    async def broken(_work: Workplace, _bundle: Path, _out: Path) -> None:
        raise ChildFailed("this network cannot be exported")

    async def story() -> None:
        async with trainer_with(place, "--epochs", "1", export=broken) as (trainer, _, _transport):
            await place.begin(trainer)
            await over(trainer)
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"
            assert "cannot be exported" in trainer.errors["export_onnx"]
            [model] = await place.models()
            assert model["formats"] == ["appliance_pytorch"]

    asyncio.run(story())


class FullDisk(FileSystem):
    """Full for a while."""

    def __init__(self) -> None:
        self.refusals = 0

    def _refuse(self, path: Path) -> None:
        if self.refusals > 0 and path.name.endswith(".incoming"):
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")

    def create_exclusive(self, path: Path) -> Any:
        self._refuse(path)
        return super().create_exclusive(path)


def test_a_full_disk_is_told_and_what_has_come_stays(place: Place) -> None:
    ids = place.annotated(5)

    async def story() -> None:
        files = FullDisk()
        async with trainer_with(place, "--epochs", "1", files=files) as (trainer, watch, transport):
            files.refusals = 1
            await place.begin(trainer)
            await over(trainer)
            assert watch.delays == [5.0]
            assert "disk is full" in watch.waited[0][2]["prepare"]
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"
            assert transport.count("GET .*/main") <= len(ids) + 10

    asyncio.run(story())


class FullWhile(FileSystem):
    """A disk that is full while a trainer is in one state, until it has refused so many files."""

    def __init__(self, during: str, refusals: int = 2) -> None:
        self.trainer: Trainer | None = None
        self.refused = 0
        self._during, self._refusals = during, refusals

    def create_exclusive(self, path: Path) -> Any:
        walk = None if self.trainer is None else self.trainer.walk
        if walk is not None and walk.during == self._during and self.refused < self._refusals:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create_exclusive(path)


@pytest.mark.parametrize(
    ("during", "key"),
    [
        ("data_downloading", "prepare"),
        pytest.param("train_model_downloading", "download_model", marks=pytest.mark.slow),
        ("running", "run_training"),
        pytest.param("confusion_matrix_syncing", "sync_confusion_matrix", marks=pytest.mark.slow),
        pytest.param("train_model_uploading", "upload_model", marks=pytest.mark.slow),
        ("detecting", "detecting"),
        pytest.param("detection_uploading", "upload_detections", marks=pytest.mark.slow),
        ("ready_for_cleanup", "cleanup"),
    ],
)
def test_a_disk_that_is_full_at_any_stage_is_told_and_when_there_is_room_again_it_goes_on(
    place: Place, during: str, key: str
) -> None:
    place.annotated(2)

    async def story() -> None:
        files = FullWhile(during)
        async with trainer_with(place, "--epochs", "2", files=files) as (trainer, watch, _):
            files.trainer = trainer
            await place.begin(trainer)
            await over(trainer)
            assert files.refused == 2
            assert watch.waited, "it was never tried again"
            for _, _, errors in watch.waited:
                assert set(errors) == {key}
                assert "full" in errors[key] or "No space left" in errors[key]
            assert trainer.last is not None
            assert (trainer.last.outcome, trainer.last.errors) == ("finished", {})
            assert (await place.ended())["state"] == "finished"
            assert len(await place.models()) == 1

    asyncio.run(story())


def test_a_training_that_is_killed_goes_on_from_its_checkpoint(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--epochs", "3", "--crash-after", "2") as (trainer, watch, _):
            await place.begin(trainer)
            await over(trainer)
            assert watch.delays == [5.0]
            [(_, told, errors)] = watch.waited
            assert told == "train_model_downloaded"
            assert "signal 9" in errors["run_training"]
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"
            [started] = place.folder.glob("projects/*/*/trainings/*/job/best/model.json")
            assert json.loads(started.read_bytes())["epoch"] == 3

    asyncio.run(story())


def test_a_training_that_says_nothing_any_more_is_ended_and_begun_again(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        settings = place.settings(training_silence_sec=8.0)
        options = ("--epochs", "3", "--hang-after", "2", "--stubborn")
        async with trainer_with(place, *options, settings=settings) as (trainer, watch, _):
            await place.begin(trainer)
            await over(trainer)
            assert watch.delays[:1] == [5.0]
            assert "said nothing for 8 s" in watch.waited[0][2]["run_training"]
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"

    asyncio.run(story())


def test_a_full_graphics_card_is_called_that(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--memory") as (trainer, watch, _):
            await place.begin(trainer)
            await until(lambda: len(watch.waited) >= 2)
            assert watch.waited[0][2] == {"run_training": "graphics card is out of memory"}
            await trainer.abort()

    asyncio.run(story())


def test_a_training_that_cannot_succeed_ends_with_its_reason(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--empty", "--fail", "There is no variant 'huge'.") as (trainer, watch, _):
            await place.begin(trainer)
            await over(trainer)
            assert watch.delays == []
            assert trainer.errors == {"run_training": "There is no variant 'huge'."}
            assert await place.models() == []

    asyncio.run(story())


def test_what_was_learnt_before_a_failure_is_kept(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--epochs", "2", "--fail", "The loss is lost.") as (trainer, _, _transport):
            await place.begin(trainer)
            await over(trainer)
            assert (await place.ended())["state"] == "finished"
            assert "The loss is lost." in trainer.errors["run_training"]
            assert len(await place.models()) == 1

    asyncio.run(story())


def test_one_that_asks_for_another_try_gets_it(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--epochs", "1", "--fail", "Less, please.", "--again") as (trainer, watch, _):
            await place.begin(trainer)
            await until(lambda: len(watch.waited) >= 2)
            assert [errors["run_training"] for _, _, errors in watch.waited[:2]] == ["Less, please."] * 2
            await trainer.abort()

    asyncio.run(story())


@pytest.mark.parametrize("state", [None, "inbox"])
def test_without_annotated_pictures_it_says_so(place: Place, state: str | None) -> None:
    if state is not None:
        place.shop.add(2, state=state)

    async def story() -> None:
        async with trainer_with(place) as (trainer, _, _transport):
            await place.begin(trainer)
            await over(trainer)
            assert "annotate some first" in trainer.errors["prepare"]

    asyncio.run(story())


def test_a_category_that_was_removed_meanwhile_is_left_out(place: Place) -> None:
    ids = place.annotated(2)
    removed = place.loop.http.post(f"{place.shop.path}/categories", json={"name": "rust"}).json()
    box = {"category_name": "rust", "category_id": removed["id"], "x": 1, "y": 1, "width": 5, "height": 5}
    place.shop.add(1, state="complete", box_annotations=[box])

    async def story() -> None:
        async with trainer_with(place, "--epochs", "1") as (trainer, _, _transport):
            await place.begin(trainer, categories=["bolt"])
            await over(trainer)
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"

    asyncio.run(story())
    document = json.loads(next((place.folder / "projects").rglob("annotations.json")).read_bytes())
    assert [category["name"] for category in document["categories"]] == ["bolt"]
    assert (len(document["images"]), len(document["annotations"])) == (len(ids) + 1, len(ids))


def test_a_category_may_be_removed_while_it_is_trained(place: Place) -> None:
    ids = place.annotated(2)

    async def story() -> None:
        async with trainer_with(place, "--epochs", "400", "--pause", "0.05") as (trainer, _, _transport):
            await place.begin(trainer)
            await until(lambda: trainer.run is not None and trainer.run.best is not None)
            for id in ids:
                answer = await place.ask("PUT", f"/images/{id}/annotations", json={"box_annotations": []})
                assert answer.status_code == 200, answer.text
            answer = await place.ask("DELETE", f"/categories/{place.shop.categories['bolt']}")
            assert answer.status_code == 200, answer.text
            await trainer.stop()
            await over(trainer)
            assert trainer.last is not None
            assert (trainer.last.outcome, trainer.last.errors) == ("finished", {})
        [model] = await place.models()
        assert sorted(model["formats"]) == ["appliance_pytorch", "onnx"]

    asyncio.run(story())
    [found] = place.shop.image(ids[0], model_version="1.0")["box_detections"]
    assert found["category_name"] == "bolt", "what it found is still told, by the name that the model knows"


def test_damaged_pictures_are_left_out_and_counted(place: Place) -> None:
    ids = place.annotated(3)
    whole = jpeg(77_000)
    answer = place.shop.upload(pair("image_x", whole, metadata(state="complete")))
    [damaged] = answer.json()["image_ids"]

    async def story() -> None:
        async with trainer_with(place, "--epochs", "50", "--pause", "60") as (trainer, _, transport):
            cut = Fault(
                f"GET .*/images/{damaged}/main", lambda: httpx.Response(200, content=whole[: len(whole) // 2]), 9
            )
            transport.faults = [cut]
            await place.begin(trainer)
            await until(lambda: trainer.state == "running")
            assert trainer.run is not None
            assert trainer.run.skipped_image_count == 1
            assert (trainer.run.train_images or 0) + (trainer.run.test_images or 0) == len(ids)
            assert transport.count(f"GET .*/images/{damaged}/main") == 1
            await trainer.abort()

    asyncio.run(story())


def _uploaded(shop: Shop, files: dict[str, bytes]) -> str:
    """A model of somebody's own; its id."""
    parts = [("files", (name, content)) for name, content in {**files, "notes.txt": b"no weights"}.items()]
    answer = shop.loop.http.post(f"{shop.path}/appliance_pytorch", files=parts)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])
