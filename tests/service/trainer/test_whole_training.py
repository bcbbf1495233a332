"""A training from the wish of a person to its model in the Loop, with this project's own Loop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.service.running_loop import RunningLoop
from tests.service.trainer.trainers import Place


@pytest.fixture
def place(loop: RunningLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path / "trainer")


def test_a_training_leaves_its_model_and_what_it_finds_in_the_loop(place: Place) -> None:
    ids = place.annotated(8)
    [unseen] = place.shop.add(1, state="inbox")

    async def story() -> None:
        async with place.running("--epochs", "3") as trainer:
            assert trainer.state == "idle"
            begun = await place.begin(trainer, hyperparameters={"epochs": 3})
            assert begun["state"] == "running"
            ended = await place.ended()
            assert ended["state"] == "finished", ended
            assert (trainer.state, trainer.run) == ("idle", None)

            [model] = await place.models()
            assert (model["version"], model["formats"]) == ("1.0", ["appliance_pytorch", "onnx"])
            told = ended["metrics"][-1]["metrics"]
            assert told["best_epoch"] == 3
            assert told["confusion_matrix"] == {place.shop.categories["bolt"]: {"tp": 3, "fp": 1, "fn": 2}}
            assert told["train_image_count"] + told["test_image_count"] == 8
            assert told["hyperparameters"] == {"epochs": 3, "batch_size": 4}
            assert trainer.last is not None
            assert (trainer.last.outcome, trainer.last.model_id) == ("finished", model["id"])

    asyncio.run(story())
    for image_id in [*ids, unseen]:
        [found] = place.shop.image(image_id, model_version="1.0")["box_detections"]
        assert (found["category_name"], found["model_name"]) == ("bolt", "1.0")
        assert (found["x"], found["y"], found["width"], found["height"]) == (11, 10, 10, 4)
    document = json.loads(next((place.folder / "projects").rglob("annotations.json")).read_bytes())
    assert {image["loop_id"] for image in document["images"]} == set(ids)
    assert [annotation["bbox"] for annotation in document["annotations"]] == [[3.0, 4.0, 10.0, 8.0]] * 8
    expected = {place.shop.image(image_id)["set"] for image_id in ids}
    assert {image["split"] for image in document["images"]} == expected


def test_the_loop_sees_the_states_in_their_order(place: Place) -> None:
    place.annotated(3)
    seen: list[Any] = []

    async def story() -> None:
        async with place.running("--epochs", "1") as trainer:
            states = _noting(trainer, seen)
            await place.begin(trainer)
            await place.ended()
            states.cancel()

    asyncio.run(story())
    order = [
        "data_downloading",
        "train_model_downloading",
        "running",
        "confusion_matrix_syncing",
        "train_model_uploading",
        "detecting",
        "detection_uploading",
        "ready_for_cleanup",
        "idle",
    ]
    assert [state for state in seen if state in order] == ["idle", *order]


def _noting(trainer: Any, seen: list[Any]) -> asyncio.Task[None]:
    async def note() -> None:
        while True:
            if not seen or seen[-1] != trainer.state:
                seen.append(trainer.state)
            await asyncio.sleep(0)

    return asyncio.create_task(note())
