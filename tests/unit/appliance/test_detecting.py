"""What becomes of a picture beside its answer: picked or not, with which tags, kept as a whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from appliance.budgets import SEED_PICKS_PER_HOUR, PickBudgets
from appliance.detecting import ENCODED_AT_ONCE, Detecting, Wish
from appliance.inference.supervisor import Picture, Seen, Supervisor
from appliance.outbox.files import NewPicture
from appliance.relevance import RelevanceFilter
from models.bundle import Bundle
from models.bundle_format import ModelJson
from models.errors import ImageUnreadable, NoRoom
from models.images import ImageLimits, encode_jpeg
from models.wire.image_metadata import ImageMetadata
from tests.support.small_bundles import model_json

JPEG = encode_jpeg(np.zeros((20, 30, 3), np.uint8))
RAW = Picture(bytes(20 * 30 * 3), {"dtype": "uint8", "shape": [20, 30, 3]})


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run it in an event loop."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


def bundle(version: str = "1.0", **keys: Any) -> Bundle:
    """A model with the categories screw and hole, which shows what it is 0.4 sure of."""
    return Bundle(Path("/models") / version, ModelJson.model_validate(model_json(version, **keys)))


SEED = bundle("0.0", organization="detector-appliance", project="everyday-objects")


def box(confidence: float, name: str = "screw", x: int = 0) -> dict[str, Any]:
    """A box detection in wire form."""
    found = {"category_name": name, "x": x, "y": 0, "width": 10, "height": 10, "category_id": f"id of {name}"}
    return {**found, "confidence": confidence, "model_name": "1.0"}


class Model:
    """Stands for the supervisor: answers with what it was told to see."""

    def __init__(self, serving: Bundle | None) -> None:
        self.bundle = serving
        self.sees: list[dict[str, Any]] = []

    @property
    def serving(self) -> Any:
        """As the supervisor tells it."""
        return None if self.bundle is None else type("Serving", (), {"bundle": self.bundle})()

    async def detect(self, picture: Picture, max_wait: float) -> Seen:
        assert self.bundle is not None
        answered_by = self.bundle
        await asyncio.sleep(0)
        return Seen(answered_by, {"box_detections": list(self.sees)}, 30, 20, {"inference": 1.0})


class Shelf:
    """Stands for outbox and picks: keeps what it is given, has room for so many."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.kept: dict[str, NewPicture] = {}
        self.offered: list[tuple[bytes, ImageMetadata]] = []

    def save_all_or_none(self, pictures: Sequence[NewPicture]) -> list[str]:
        if len(self.kept) + len(pictures) > self.room:
            raise NoRoom("The outbox is full")
        ids = [f"id {len(self.kept) + number}" for number in range(len(pictures))]
        self.kept.update(zip(ids, pictures, strict=True))
        return ids

    def offer(self, picture: bytes, metadata: ImageMetadata) -> bool:
        self.offered.append((picture, metadata))
        return True


class Bench:
    """Detecting with all that it needs."""

    def __init__(self, serving: Bundle | None, *, room: int = 1000, per_camera: int = 1000) -> None:
        self.now = 0.0
        self.model = Model(serving)
        self.shelf = Shelf(room)
        self.detecting = Detecting(
            cast(Supervisor, self.model),
            RelevanceFilter(0.3, 0.6, lambda: self.now),
            PickBudgets(per_camera, lambda: self.now),
            self.shelf,
            self.shelf,
            limits=ImageLimits(),
        )


@story
async def test_the_answer_hides_what_the_model_would_and_the_filter_and_the_loop_see_it() -> None:
    bench = Bench(bundle())
    bench.model.sees = [box(0.9), box(0.35, "hole", 100)]

    detected = await bench.detecting.detect(Picture(JPEG), Wish(tags=("wet",), source="robot", created="2024-01-31"))

    assert [each.confidence for each in detected.metadata.box_detections] == [0.9]
    assert (detected.metadata.tags, detected.metadata.source, detected.metadata.created) == (
        ["wet"], "robot", "2024-01-31",
    )  # fmt: skip
    assert detected.reasons == ("uncertain",)
    [(picture, stored)] = bench.shelf.offered
    assert picture == JPEG
    assert [each.confidence for each in stored.box_detections] == [0.9, 0.35]
    assert [each.category_id for each in stored.box_detections] == ["id of screw", "id of hole"]
    assert (stored.tags, stored.source, stored.created) == (["wet", "uncertain"], "robot", "2024-01-31")


@story
async def test_disabled_picks_nothing_and_leaves_the_history_alone() -> None:
    bench = Bench(bundle())
    bench.model.sees = [box(0.5)]

    detected = await bench.detecting.detect(Picture(JPEG), Wish(autoupload="disabled"))

    assert (detected.reasons, bench.shelf.offered) == ((), [])
    assert (await bench.detecting.detect(Picture(JPEG), Wish())).reasons == ("uncertain",), "it is still new"


@story
async def test_all_picks_whatever_is_in_it_without_a_reason() -> None:
    bench = Bench(bundle())

    detected = await bench.detecting.detect(Picture(JPEG), Wish(autoupload="all", tags=("a",)))

    assert detected.reasons == ()
    assert [stored.tags for _, stored in bench.shelf.offered] == [["a"]]


@story
async def test_pictures_of_the_seed_model_say_so_and_carry_no_category_ids() -> None:
    bench = Bench(SEED)
    bench.model.sees = [box(0.5)]

    await bench.detecting.detect(Picture(JPEG), Wish())

    [(_, stored)] = bench.shelf.offered
    assert stored.tags == ["uncertain", "seed_model"]
    assert [each.category_id for each in stored.box_detections] == [None]


@story
async def test_the_seed_model_picks_so_many_an_hour_and_as_many_as_somebody_asks_for() -> None:
    bench = Bench(SEED)
    bench.model.sees = [box(0.5)]
    for camera in range(SEED_PICKS_PER_HOUR + 5):
        await bench.detecting.detect(Picture(JPEG), Wish(camera_id=f"camera {camera}"))
    assert len(bench.shelf.offered) == SEED_PICKS_PER_HOUR
    assert bench.detecting.counters.not_offered == {"seed_model_budget": 5}

    await bench.detecting.detect(Picture(JPEG), Wish(autoupload="all"))
    assert len(bench.shelf.offered) == SEED_PICKS_PER_HOUR + 1

    bench.now = 3601.0
    await bench.detecting.detect(Picture(JPEG), Wish(camera_id="another"))
    assert len(bench.shelf.offered) == SEED_PICKS_PER_HOUR + 2


@story
async def test_a_picture_belongs_to_the_model_that_looked_at_it_though_another_serves_by_then() -> None:
    bench = Bench(SEED)
    bench.model.sees = [box(0.5)]
    answer = asyncio.create_task(bench.detecting.detect(Picture(JPEG), Wish()))
    await asyncio.sleep(0)

    bench.model.bundle = bundle("1.0", conf_threshold=0.9)

    assert (await answer).metadata.box_detections, "the threshold is that of the model that answered"
    assert bench.shelf.offered[0][1].tags == ["uncertain", "seed_model"]


@story
async def test_an_array_is_picked_as_a_jpeg_and_the_answer_does_not_wait_for_it() -> None:
    bench = Bench(bundle())

    await bench.detecting.detect(RAW, Wish(autoupload="all"))
    assert bench.shelf.offered == []

    await bench.detecting.close()
    assert bench.shelf.offered[0][0][:3] == b"\xff\xd8\xff"


@story
async def test_arrays_that_come_faster_than_they_are_encoded_are_dropped_and_counted() -> None:
    bench = Bench(bundle())

    at_once = (bench.detecting.detect(RAW, Wish(autoupload="all")) for _ in range(ENCODED_AT_ONCE + 3))
    assert len(await asyncio.gather(*at_once)) == ENCODED_AT_ONCE + 3, "all are answered"
    await bench.detecting.close()

    assert bench.detecting.counters.not_offered == {"too_many_raw_pictures": 3}
    assert len(bench.shelf.offered) == ENCODED_AT_ONCE


@story
async def test_a_camera_picks_so_many_an_hour_and_as_many_as_somebody_asks_for() -> None:
    bench = Bench(bundle(), per_camera=2)
    bench.model.sees = [box(0.5)]

    async def look(x: int, **wish: Any) -> tuple[tuple[str, ...], str | None]:
        bench.model.sees = [box(0.5, x=x)]
        detected = await bench.detecting.detect(Picture(JPEG), Wish(**wish))
        return detected.reasons, detected.not_kept

    assert [await look(100 * index, camera_id="front") for index in range(4)] == [
        (("uncertain",), None),
        (("uncertain",), None),
        (("uncertain",), "camera_budget"),
        (("uncertain",), "camera_budget"),
    ]
    assert await look(0, camera_id="rear") == (("uncertain",), None)
    assert await look(500, camera_id="front", autoupload="all") == ((), None)
    assert len(bench.shelf.offered) == 4
    assert bench.detecting.counters.not_offered == {"camera_budget": 2}
    assert await look(300, camera_id="front") == ((), None), "it was seen, though it was not kept"

    bench.now = 3600.0
    assert await look(600, camera_id="front") == (("uncertain",), None)


@story
async def test_pictures_that_somebody_asks_for_use_up_no_budget() -> None:
    bench = Bench(bundle(), per_camera=1)
    for _ in range(3):
        await bench.detecting.detect(Picture(JPEG), Wish(camera_id="front", autoupload="all"))
    bench.model.sees = [box(0.5)]

    assert (await bench.detecting.detect(Picture(JPEG), Wish(camera_id="front"))).not_kept is None
    assert len(bench.shelf.offered) == 4


@story
async def test_an_array_that_makes_no_jpeg_is_counted() -> None:
    bench = Bench(bundle())

    detected = await bench.detecting.detect(
        Picture(b"", {"dtype": "uint8", "shape": [20, 30, 3]}), Wish(autoupload="all")
    )
    assert detected.not_kept is None, "nobody knows yet"
    assert bench.detecting.encoding == 1
    await bench.detecting.close()

    assert bench.detecting.counters.not_offered == {"not_encodable": 1}
    assert (bench.detecting.encoding, bench.shelf.offered) == (0, [])


@story
async def test_a_picture_that_is_lost_by_a_fault_of_this_program_is_counted_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_anything: object) -> bytes:
        raise MemoryError

    bench = Bench(bundle())
    monkeypatch.setattr("appliance.detecting.images.encode_jpeg", stumble)

    await bench.detecting.detect(RAW, Wish(autoupload="all"))
    await bench.detecting.close()

    assert bench.detecting.counters.not_offered == {"unexpected": 1}
    assert "MemoryError" in caplog.text


@story
async def test_what_is_found_is_counted_by_category() -> None:
    bench = Bench(bundle())
    bench.model.sees = [box(0.9), box(0.8), box(0.7, "hole"), box(0.35)]

    await bench.detecting.detect(Picture(JPEG), Wish(autoupload="disabled"))

    assert bench.detecting.counters.pictures == 1
    assert bench.detecting.counters.by_category == {"screw": 2, "hole": 1}, "what the answer shows"


@story
async def test_an_upload_is_kept_byte_for_byte_with_ids_of_the_serving_model() -> None:
    bench = Bench(bundle())
    metadata = ImageMetadata.model_validate({"box_detections": [box(0.5), box(0.5, "dragon")], "tags": ["a"]})

    await bench.detecting.upload([Picture(JPEG), RAW], metadata, priority=True)

    first, second = bench.shelf.kept.values()
    assert (first.picture, first.priority) == (JPEG, True)
    assert second.picture[:3] == b"\xff\xd8\xff"
    assert first.metadata.tags == ["a", "picked_by_system"]
    assert [each.category_id for each in first.metadata.box_detections] == ["5f1f5a1e-0c10-4f0a-9d5c-000000000001", ""]
    assert metadata.tags == ["a"], "what the caller gave is not changed"
    assert metadata.box_detections[1].category_id == "id of dragon"


@story
async def test_pictures_are_kept_without_a_model() -> None:
    bench = Bench(None)

    await bench.detecting.upload([Picture(JPEG)], ImageMetadata(), priority=False)

    assert [kept.metadata.tags for kept in bench.shelf.kept.values()] == [["picked_by_system"]]
    assert bench.detecting.model_information() is None


@story
async def test_nothing_is_kept_if_one_of_the_pictures_is_none() -> None:
    bench = Bench(bundle())

    with pytest.raises(ImageUnreadable):
        await bench.detecting.upload([Picture(JPEG), Picture(b"text")], ImageMetadata(), priority=False)

    assert bench.shelf.kept == {}


@pytest.mark.parametrize("room", [0, 1, 40, 69])
@story
async def test_nothing_is_kept_if_there_is_no_room_for_all(room: int) -> None:
    bench = Bench(bundle(), room=room)

    with pytest.raises(NoRoom):
        await bench.detecting.upload([Picture(JPEG)] * 70, ImageMetadata(), priority=False)

    assert bench.shelf.kept == {}
