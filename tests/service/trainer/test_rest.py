"""The routes of a trainer by which tests drive it, and its server as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from companions.server import create_app
from tests.service.running_loop import RunningLoop
from tests.service.trainer.trainers import Place, until
from tests.support.asgi import served
from trainer_companion import rest
from trainer_companion.node import Trainer

BACKDOOR = (
    "provide_new_model",
    "reset",
    "error_configuration",
    "steps",
    "kill_training_process",
    "force_status_update",
)


@pytest.fixture
def place(loop: RunningLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path / "trainer")


def app_of(trainer: Trainer) -> Any:
    return create_app(trainer.settings, trainer, routers=[rest.router(trainer)])


def test_without_the_setting_there_is_no_backdoor(place: Place) -> None:
    async def story() -> None:
        trainer = place.trainer(settings=place.settings(skip_repeat_on_start=True))
        async with served(app_of(trainer)) as http:
            for route in BACKDOOR:
                for method in ("PUT", "POST"):
                    assert (await http.request(method, f"/{route}", content="on")).status_code == 404
            assert (await http.get("/healthz")).json()["state"] == "idle"
            assert not trainer.connection.is_on

    asyncio.run(story())


def test_tests_drive_it(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        settings = place.settings(use_backdoor_controls=True)
        trainer = place.trainer("--epochs", "100", "--pause", "0.2", settings=settings)
        async with served(app_of(trainer)) as http:
            await until(lambda: place.node(trainer) is not None)
            assert (await http.post("/steps", content="1")).status_code == 409
            assert (await http.post("/kill_training_process")).status_code == 409
            assert (await http.put("/error_configuration", json={"begin_training": "True"})).status_code == 200
            refused = await place.ask("POST", "/trainings", json={"trainer_id": trainer.id})
            assert refused.status_code == 409
            assert "as it was told to" in refused.json()["detail"]

            await http.put("/error_configuration", json={})
            await http.put("/provide_new_model", content="off")
            number = (await place.begin(trainer))["number"]
            await until(lambda: trainer.run is not None and trainer.run.best is not None)
            assert (await place.training(number))["metrics"] == []
            assert (await http.post("/steps", content="2")).status_code == 200
            assert len((await place.training(number))["metrics"]) >= 1

            await http.put("/error_configuration", json={"get_new_model": True})
            await http.post("/steps", content="1")
            assert "sync_confusion_matrix" in trainer.errors
            assert (place.node(trainer) or {})["errors"] == trainer.errors

            assert (await http.post("/kill_training_process")).status_code == 200
            await until(lambda: "run_training" in trainer.errors)
            await http.post("/reset")
            assert (trainer.state, trainer.errors) == ("idle", {})
            await until(lambda: place.node(trainer) is not None)
            assert (await http.post("/force_status_update")).status_code == 200
            assert (await place.ended(number))["state"] == "failed"  # the loop did not ask for it

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "route", "body"),
    [
        ("PUT", "error_configuration", "no json"),
        ("PUT", "error_configuration", "[]"),
        ("PUT", "error_configuration", '{"everything": true}'),
        ("POST", "steps", "many"),
        ("POST", "steps", "-1"),
        ("POST", "steps", "1000000"),
        ("PUT", "provide_new_model", "perhaps"),
    ],
)
def test_what_makes_no_sense_is_refused(place: Place, method: str, route: str, body: str) -> None:
    async def story() -> None:
        trainer = place.trainer(settings=place.settings(use_backdoor_controls=True, skip_repeat_on_start=True))
        async with served(app_of(trainer)) as http:
            answer = await http.request(method, f"/{route}", content=body)
            assert answer.status_code in (400, 422)

    asyncio.run(story())


def test_a_training_that_is_crashed_on_purpose_is_tried_again(place: Place) -> None:
    place.annotated(2)

    async def story() -> None:
        async with place.running("--epochs", "3", "--pause", "0.2") as trainer:
            trainer.backdoor.crash_training = True
            await place.begin(trainer)
            await until(lambda: "run_training" in trainer.errors)
            trainer.backdoor.crash_training = False
            await until(lambda: trainer.run is None)
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"

    asyncio.run(story())
