"""A training from its beginning to its model, as the loop sees it, and all the ways in which it does not get there."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from appliance.loop_server.numbering import ROUTE_WORDS
from tests.service.loop_server.node import TRAINER_STATUS, Node
from tests.service.loop_server.shop import Shop, described, model_zip
from tests.service.running_loop import RunningLoop

CATEGORIES = ("screw", "nut")


class Story:
    """A project with categories, and a trainer of its own."""

    def __init__(self, loop: RunningLoop) -> None:
        self.shop = Shop(loop)
        self.path = f"{self.shop.path}/trainings"
        self.trainer_id = f"trainer of {self.shop.project}"
        self.categories: list[dict[str, Any]] = []
        for name in CATEGORIES:
            answer = loop.http.post(f"{self.shop.path}/categories", json={"name": name})
            assert answer.is_success, answer.text
        self.categories = loop.http.get(self.shop.path).json()["categories"]

    def status(self, state: str = "idle", **more: Any) -> dict[str, Any]:
        """What the trainer says of itself."""
        return {**TRAINER_STATUS, "id": self.trainer_id, "name": self.trainer_id, "state": state, **more}

    def found(self, epoch: int, **more: Any) -> tuple[str, str, dict[str, Any]]:
        """What the trainer says of its best model, as upstream's do."""
        matrix = {category["id"]: {"tp": epoch, "fp": 1, "fn": 2} for category in self.categories}
        metrics = {
            "trainer_id": self.trainer_id,
            "trainer_name": "gpu server",
            "confusion_matrix": matrix,
            "train_image_count": 8,
            "test_image_count": 2,
            "hyperparameters": {"resolution": 640},
            "best_epoch": epoch,
        }
        return self.shop.organization, self.shop.project, {**metrics, **more}

    async def begin(self, node: Node, **more: Any) -> Any:
        """A person begins a training; the answer of the loop."""
        return await node.ask("POST", self.path, json={"trainer_id": self.trainer_id, **more})

    async def begun(self, node: Node, **more: Any) -> dict[str, Any]:
        """The trainer says that it is there, and a training is begun."""
        await node.told("update_trainer", self.status())
        answer = await self.begin(node, **more)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def upload(self, node: Node, number: int, format: str = "mocked", weights: bytes = b"weights") -> Any:
        """The trainer uploads its best model, as upstream's do; the answer of the loop."""
        document = json.dumps({"categories": [{**category, "hotkey": None} for category in self.categories]})
        files = [("files", ("model.pt", weights)), ("files", ("model.json", document.encode()))]
        return await node.ask("PUT", f"{self.path}/{number}/models/latest/{format}/file", files=files)

    async def state(self, node: Node, number: int = 1) -> dict[str, Any]:
        """What people see of the training."""
        answer = await node.ask("GET", f"{self.path}/{number}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def story(loop: RunningLoop) -> Story:
    return Story(loop)


def test_from_begin_training_to_the_model_of_every_format(loop: RunningLoop, story: Story) -> None:
    base = story.shop.upload("mocked")

    async def tell() -> None:
        async with Node(loop) as trainer:
            training = await story.begun(trainer, base_model="1.0", hyperparameters={"resolution": 640})
            assert (training["number"], training["state"]) == (1, "running")
            [(event, (organization, project, details))] = trainer.heard
            assert (event, organization, project) == ("begin_training", story.shop.organization, story.shop.project)
            assert details["categories"] == story.categories
            assert details["training_number"] == 1
            assert details["hyperparameters"] == {"resolution": 640}
            assert details["model_variant"] == "small", "the trainer's first"
            assert details["base_model_uuid"] == base["id"]

            running = story.status("running", progress=0.25, context={"organization": "o", "project": "p"})
            await trainer.told("update_trainer", running)
            seen = await story.state(trainer)
            assert (seen["state"], seen["trainer"]["state"], seen["trainer"]["progress"]) == (
                "running",
                "running",
                0.25,
            )

            for epoch in (1, 2, 2, 5):
                await trainer.told("update_training", *story.found(epoch))
            assert [each["metrics"]["best_epoch"] for each in (await story.state(trainer))["metrics"]] == [1, 2, 5]

            first = await story.upload(trainer, 1, "appliance_pytorch")
            assert first.status_code == 200, first.text
            second = await story.upload(trainer, 1, "mocked")
            assert second.json()["id"] == first.json()["id"]
            assert second.json()["version"] == "1.1"
            assert second.json()["formats"] == ["appliance_pytorch", "mocked"]
            again = await story.upload(trainer, 1, "mocked")
            assert (again.status_code, again.json()["detail"]["id"]) == (409, first.json()["id"])

            await trainer.told("update_trainer", story.status())
            assert (await story.state(trainer))["state"] == "finished"
            assert (await story.state(trainer))["trainer"] is None

            listed = (await trainer.ask("GET", story.path)).json()
            assert [each["number"] for each in listed["trainings"]] == [1]
            [latest] = listed["charts"][0]["data"]
            assert (latest["model_id"], latest["version"]) == (first.json()["id"], "1.1")
            assert latest["metrics"]["confusion_matrix"] == story.found(5)[2]["confusion_matrix"]

            document = described(story.shop.download(first.json(), "mocked").content)
            assert (document["version"], document["format"]) == ("1.1", "mocked")
            assert [category["name"] for category in document["categories"]] == list(CATEGORIES)

    asyncio.run(tell())


def test_a_better_model_of_the_same_training_is_a_new_model(loop: RunningLoop, story: Story) -> None:
    async def tell() -> None:
        async with Node(loop) as trainer:
            await story.begun(trainer)
            models = []
            for epoch in (3, 7):
                await trainer.told("update_training", *story.found(epoch))
                for format in ("onnx", "mocked"):
                    answer = await story.upload(trainer, 1, format)
                    models.append((answer.json()["version"], answer.json()["id"]))
                # A trainer that was killed tells the same again before it goes on.
                await trainer.told("update_training", *story.found(epoch, hyperparameters={"told": "again"}))
                assert (await story.upload(trainer, 1, "onnx")).status_code == 409
            assert [version for version, _ in models] == ["1.0", "1.0", "1.1", "1.1"]
            assert len({model_id for _, model_id in models}) == 2
            charts = (await trainer.ask("GET", story.path)).json()["charts"]
            assert [each["version"] for each in charts[0]["data"]] == ["1.1", "1.0"], "the latest first"

    asyncio.run(tell())


def test_a_trainer_that_tells_no_metrics_can_upload_all_the_same(loop: RunningLoop, story: Story) -> None:
    story.shop.upload("mocked")
    story.shop.upload("mocked")

    async def tell() -> None:
        async with Node(loop) as trainer:
            await story.begun(trainer)
            assert (await story.upload(trainer, 1)).json()["version"] == "2.1", "from scratch: after the highest"
            assert (await story.upload(trainer, 1)).status_code == 409
            await trainer.told("update_training", *story.found(1))
            assert (await story.upload(trainer, 1)).json()["version"] == "2.2"

    asyncio.run(tell())


def test_the_base_model_decides_the_major_version_even_if_it_is_deleted(loop: RunningLoop, story: Story) -> None:
    base = story.shop.upload("mocked")
    story.shop.upload("mocked")

    async def tell() -> None:
        async with Node(loop) as trainer:
            await story.begun(trainer, base_model=base["id"])
            await trainer.ask("DELETE", f"{story.shop.path}/models/{base['id']}")
            assert (await story.upload(trainer, 1)).json()["version"] == "1.1"

    asyncio.run(tell())


def test_a_deleted_model_of_a_training_can_be_uploaded_anew(loop: RunningLoop, story: Story) -> None:
    async def tell() -> None:
        async with Node(loop) as trainer:
            await story.begun(trainer)
            await trainer.told("update_training", *story.found(1))
            first = (await story.upload(trainer, 1)).json()
            await trainer.ask("DELETE", f"{story.shop.path}/models/{first['id']}")
            second = await story.upload(trainer, 1)
            assert (second.status_code, second.json()["version"]) == (200, "1.1")

    asyncio.run(tell())


def test_what_has_no_training_is_refused(loop: RunningLoop, story: Story) -> None:
    form = {"files": ("model.zip", model_zip(categories=[]))}
    for number, status in ((0, 404), (1, 404), (2**31, 422), (-1, 422), ("x", 422)):
        answer = loop.http.put(f"{story.path}/{number}/models/latest/mocked/file", files=form)
        assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    assert loop.http.get(f"{story.path}/1").status_code == 404
    assert loop.http.post(f"{story.path}/1/stop").status_code == 404
    empty = loop.http.get(story.path).json()
    assert empty == {"charts": [{"data": []}], "trainings": []}

    async def tell() -> None:
        async with Node(loop) as trainer:
            await trainer.told("update_trainer", story.status())
            answer = await trainer.tell("update_training", *story.found(1))
            assert (answer["success"], "no training" in answer["error_msg"]) == (False, True)

    asyncio.run(tell())


def test_a_models_description_is_due_from_a_trainer(loop: RunningLoop, story: Story) -> None:
    async def tell() -> None:
        async with Node(loop) as trainer:
            await story.begun(trainer)
            path = f"{story.path}/1/models/latest/mocked/file"
            answer = await trainer.ask("PUT", path, files=[("files", ("model.pt", b"weights"))])
            assert (answer.status_code, "model.json" in answer.text) == (422, True)
            for word in sorted(ROUTE_WORDS)[:2]:
                assert (await story.upload(trainer, 1, word)).status_code == 422

    asyncio.run(tell())


class TestBeginning:
    """Not every trainer can begin."""

    def test_a_trainer_that_says_no(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await trainer.told("update_trainer", story.status())
                trainer.answers["begin_training"] = lambda *_: {
                    "success": False,
                    "error_msg": "another one has the card",
                    "payload": "refused",
                }
                answer = await story.begin(trainer)
                assert (answer.status_code, "another one has the card" in answer.text) == (409, True)
                seen = await story.state(trainer)
                assert (seen["state"], bool(seen["ended"])) == ("refused", True)
                assert "another one has the card" in seen["reason"]
                trainer.answers.clear()
                assert (await story.begin(trainer)).json()["number"] == 2

        asyncio.run(tell())

    def test_a_trainer_that_is_busy_or_away(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await trainer.told("update_trainer", story.status("running"))
                answer = await story.begin(trainer)
                assert (answer.status_code, "it is running" in answer.text) == (409, True)
                await trainer.told("update_trainer", story.status("blocked"))
                assert (await story.begin(trainer)).status_code == 201, "it says itself whether it can"

        asyncio.run(tell())
        for _ in range(200):
            answer = loop.http.post(story.path, json={"trainer_id": story.trainer_id})
            if "not connected" in answer.text:
                break
        assert answer.status_code == 409
        assert loop.http.post(story.path, json={"trainer_id": "nobody"}).status_code == 404
        assert loop.http.post(story.path, json={}).status_code == 422

    def test_a_trainer_that_has_one_already_though_it_has_not_said_so(self, loop: RunningLoop, story: Story) -> None:
        """Trainers up to 0.24 would begin the second and forget the first."""

        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                answer = await story.begin(trainer)
                assert (answer.status_code, "has a training already" in answer.text) == (409, True)
                assert len(trainer.heard) == 1

        asyncio.run(tell())

    def test_a_trainer_that_does_not_answer_but_begins(
        self, loop: RunningLoop, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("appliance.loop_server.trainings.BEGIN_SECONDS", 0.2)

        async def tell() -> None:
            async with Node(loop) as trainer:
                await trainer.told("update_trainer", story.status())
                trainer.answers["begin_training"] = lambda *_: asyncio.sleep(30)
                assert (await story.begin(trainer)).status_code == 504
                assert (await story.state(trainer))["state"] == "starting"
                await trainer.told("update_trainer", story.status("data_downloading"))
                assert (await story.state(trainer))["state"] == "running"

        asyncio.run(tell())

    @pytest.mark.parametrize(
        ("wish", "status"),
        [
            ({"base_model": "9.9"}, 404),
            ({"base_model": "00000000-0000-0000-0000-000000000000"}, 404),
            ({"categories": ["bolt"]}, 422),
            ({"hyperparameters": "many"}, 422),
        ],
    )
    def test_what_the_project_does_not_have(
        self, loop: RunningLoop, story: Story, wish: dict[str, Any], status: int
    ) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await trainer.told("update_trainer", story.status())
                assert (await story.begin(trainer, **wish)).status_code == status
                assert trainer.heard == []
                assert (await trainer.ask("GET", story.path)).json()["trainings"] == []

        asyncio.run(tell())

    def test_some_categories_only(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer, categories=["nut"], model_variant="large")
                details = trainer.heard[0][1][2]
                assert [category["name"] for category in details["categories"]] == ["nut"]
                assert (details["model_variant"], details["base_model_uuid"]) == ("large", None)

        asyncio.run(tell())


class TestEnding:
    """People end trainings, and trainings end by themselves."""

    @pytest.mark.parametrize(
        ("how", "during", "after"), [("stop", "stopping", "failed"), ("abort", "aborting", "aborted")]
    )
    def test_by_a_person(self, loop: RunningLoop, story: Story, how: str, during: str, after: str) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                await trainer.told("update_trainer", story.status("running"))
                answer = await trainer.ask("POST", f"{story.path}/1/{how}")
                assert (answer.status_code, answer.json()["state"]) == (200, during)
                assert trainer.heard[-1] == (f"{how}_training", ())
                await trainer.told("update_trainer", story.status("ready_for_cleanup"))
                assert (await story.state(trainer))["state"] == during
                await trainer.told("update_trainer", story.status())
                assert (await story.state(trainer))["state"] == after
                assert (await trainer.ask("POST", f"{story.path}/1/{how}")).status_code == 409

        asyncio.run(tell())

    def test_a_stopped_training_keeps_its_model(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                await trainer.ask("POST", f"{story.path}/1/stop")
                assert (await story.upload(trainer, 1)).status_code == 200
                await trainer.told("update_trainer", story.status())
                assert (await story.state(trainer))["state"] == "finished"

        asyncio.run(tell())

    def test_a_trainer_that_refuses_goes_on(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                trainer.answers["stop_training"] = lambda *_: {"success": False, "error_msg": "not now"}
                answer = await trainer.ask("POST", f"{story.path}/1/stop")
                assert (answer.status_code, "not now" in answer.text) == (409, True)
                assert (await story.state(trainer))["state"] == "running"

        asyncio.run(tell())

    def test_a_training_whose_trainer_is_away_can_be_given_up(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)

        asyncio.run(tell())
        for _ in range(200):
            if loop.http.post(f"{story.path}/1/stop").status_code == 409:
                break
        given_up = loop.http.post(f"{story.path}/1/abort")
        assert (given_up.status_code, given_up.json()["state"]) == (200, "aborted")

    def test_a_training_that_finds_nothing_has_failed_and_says_why(
        self, loop: RunningLoop, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("appliance.loop_server.trainings.GRACE", timedelta(0))

        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                await trainer.told("update_trainer", story.status("running"))
                await trainer.told("update_trainer", story.status("idle", errors={"prepare": "there are no images"}))
                seen = await story.state(trainer)
                assert (seen["state"], seen["reason"]) == ("failed", "there are no images")

        asyncio.run(tell())

    def test_an_idle_trainer_ends_no_training_that_has_just_begun(self, loop: RunningLoop, story: Story) -> None:
        """Its status may have been on the way while the training was begun."""

        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                await trainer.told("update_trainer", story.status())
                assert (await story.state(trainer))["state"] == "running"

        asyncio.run(tell())

    def test_trainings_go_on_while_trainer_or_loop_restart(self, loop: RunningLoop, story: Story) -> None:
        async def tell() -> None:
            async with Node(loop) as trainer:
                await story.begun(trainer)
                await trainer.told("update_training", *story.found(1))
            async with Node(loop) as trainer:
                await trainer.told("update_trainer", story.status("waiting_for_slot"))
                assert (await story.state(trainer))["state"] == "running"
                await trainer.told("update_training", *story.found(2))
                assert (await story.upload(trainer, 1)).status_code == 200
                assert [each["version"] for each in (await story.state(trainer))["metrics"]] == [None, "1.0"]

        asyncio.run(tell())


def test_metrics_without_end_do_not_fill_the_disk(
    loop: RunningLoop, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.loop_server.training_records.MAX_METRICS", 3)

    async def tell() -> None:
        async with Node(loop) as trainer:
            await story.begun(trainer)
            await trainer.told("update_training", *story.found(0))
            await story.upload(trainer, 1)
            for epoch in range(1, 6):
                await trainer.told("update_training", *story.found(epoch))
            kept = (await story.state(trainer))["metrics"]
            assert [each["metrics"]["best_epoch"] for each in kept] == [0, 4, 5], "what has a model stays"
            huge = story.found(9, hyperparameters={"x": "y" * 2_000_000})
            assert not (await trainer.tell("update_training", *huge))["success"]

    asyncio.run(tell())


def test_a_detector_s_login_cannot_pass_for_a_trainer(loop: RunningLoop, story: Story) -> None:
    device = loop.client(("203.0.113.9", 40000))
    for method, path in (
        ("GET", "/api/nodes"),
        ("POST", "/api/nodes/x/restart"),
        ("GET", story.path),
        ("POST", story.path),
        ("POST", f"{story.path}/1/abort"),
    ):
        assert device.request(method, path, json={}).status_code == 401
    device.post("/api/login", data={"username": "", "password": ""})
    assert device.get("/api/nodes").status_code == 403
    assert device.post(story.path, json={}).status_code == 403
