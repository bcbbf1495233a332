"""Nodes built on learning-loop-node, as it lies on PyPI, live with the embedded loop as with any Learning Loop."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.e2e.peers import CLIENT_SCRIPTS, peer_venv
from tests.e2e.server_process import ServerProcess, free_port
from tests.service.running_loop import RunningLoop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # making a peer's environment takes minutes

ERAS = ["0.13", "0.27"]
DEADLINE = 120.0
"""Seconds in which something must come about that takes seconds on a machine with nothing else to do."""

PATH = "/api/workshop/projects/parts"
CATEGORIES = [
    {"name": "screw", "type": "box"},
    {"name": "hole", "type": "segmentation"},
]

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, node: ServerProcess | None = None) -> T:
    """What `look` returns, as soon as that is something. Fails with the node's log."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} never came about\n{node.log_text() if node else ''}")


class Workshop:
    """The project `workshop/parts` of a running loop, as a person uses it."""

    def __init__(self, loop: RunningLoop) -> None:
        self.loop = loop
        self.ask("POST", "/api/workshop/projects", json={"project_name": "parts", "categories": CATEGORIES})

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """A request; its JSON. Fails unless it is welcome."""
        answer = self.loop.http.request(method, path, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Of the project."""
        found: list[dict[str, Any]] = self.ask("GET", PATH)["categories"]
        return found

    def upload_model(self, **more: Any) -> dict[str, Any]:
        """A model that a node of the tests can use."""
        document = {"categories": self.categories, "resolution": 640, **more}
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            archive.writestr("model.json", json.dumps(document))
            archive.writestr("weights.bin", b"weights")
        found: dict[str, Any] = self.ask("POST", f"{PATH}/mocked", files={"files": ("model.zip", written.getvalue())})
        return found

    def upload_images(self, folder: Path, state: str) -> list[str]:
        """Every photograph in the folder, as images in that state; their ids."""
        for photograph in sorted(folder.glob("*.jpg")):
            parts = [
                ("files", (f"{photograph.stem} {state}.json", json.dumps({"state": state}))),
                ("files", (f"{photograph.stem} {state}.jpg", photograph.read_bytes())),
            ]
            self.ask("POST", f"{PATH}/images", files=parts)
        found: list[str] = self.ask("GET", f"{PATH}/data", params={"state": state})["image_ids"]
        return found

    def images(self, **query: str) -> list[dict[str, Any]]:
        """All that is known of the images."""
        ids = self.ask("GET", f"{PATH}/data", params=query)["image_ids"]
        found: list[dict[str, Any]] = (
            self.ask("GET", f"{PATH}/images", params={"ids": ",".join(ids)})["images"] if ids else []
        )
        return found


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with RunningLoop(tmp_path / "loop", username="node", password="secret of nodes") as loop:
        yield Workshop(loop)


@contextmanager
def upstream(kind: str, era: str, loop: RunningLoop, folder: Path, *, login: bool = True) -> Iterator[ServerProcess]:
    """A node of that era in a process of its own."""
    port = free_port()
    data = folder / f"{kind} {era}"
    data.mkdir(parents=True)
    environment = {
        "LOOP_HOST": loop.host,
        "LOOP_ORGANIZATION": "workshop",
        "LOOP_PROJECT": "parts",
        "LOOP_USERNAME": "node" if login else "",
        "LOOP_PASSWORD": "secret of nodes" if login else "",
        "PYTHONWARNINGS": "ignore",
        "SYNC_CYCLES": "1",
    }
    script = str(CLIENT_SCRIPTS / "upstream_node.py")
    node = ServerProcess(
        [str(peer_venv(f"learning-loop-node-{era}")), script, kind, era, str(port), str(data)],
        port=port,
        log=folder / f"{kind}-{era}.log",
        environment=environment,
    )
    node.start()
    try:
        node.wait_until("/docs")
        yield node
    finally:
        node.kill()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("login", [True, False], ids=["with a login", "without one"])
def test_a_detector_gets_the_deployed_model_and_sends_its_pictures(
    workshop: Workshop, photographs: Path, tmp_path: Path, era: str, login: bool
) -> None:
    first, second = workshop.upload_model(), workshop.upload_model(conf_threshold=0.4)
    workshop.ask("PUT", f"{PATH}/deployment/target", json={"version": "1.0"})
    cat = (photographs / "cat.jpg").read_bytes()

    with upstream("detector", era, workshop.loop, tmp_path, login=login) as node:
        device = httpx.Client(base_url=f"http://127.0.0.1:{node.port}", timeout=60)

        def current() -> Any:
            return device.get("/about").json()["model_info"]

        info = eventually(current, "the first model", node)
        assert (info["version"], info["id"], info["resolution"]) == ("1.0", first["id"], 640)
        assert (info["host"], info["project"]) == (workshop.loop.settings.host, "parts")
        assert [category["name"] for category in info["categories"]] == ["screw", "hole"]

        headers = {"autoupload": "all", "camera-id": "front", "tags": "from the robot", "source": "robot 7"}
        answer = device.post("/detect", files={"file": ("cat.jpg", cat)}, headers=headers)
        assert answer.json()["box_detections"][0]["model_name"] == "1.0"
        [image] = eventually(workshop.images, "the picture", node)
        assert "from the robot" in image["tags"]
        assert (image["source"], image["state"]) == ("robot 7", "inbox")
        [box] = image["box_detections"]
        assert (box["category_id"], box["model_name"]) == (workshop.categories[0]["id"], "1.0")
        assert workshop.loop.http.get(f"{PATH}/images/{image['id']}/main").content, "the picture itself is there"

        def seen(version: str) -> Any:
            [detector] = workshop.ask("GET", f"{PATH}/detectors")["detectors"] or [{}]
            return detector if detector.get("current_model") == version else None

        assert eventually(lambda: seen("1.0"), "the status", node)["online"]

        workshop.ask("PUT", f"{PATH}/deployment/target", json={"model_uuid": second["id"]})
        eventually(lambda: current()["version"] == "2.0", "the second model", node)
        status = eventually(lambda: seen("2.0"), "the new status", node)
        assert (status["name"], status["model_format"], status["errors"]) == ("upstream", "mocked", {})
        assert device.get("/model_version").json()["loop_version"] == "2.0"

        switched = device.put("/model_version", content="1.0")
        assert switched.status_code == 200, "it finds the older one in the list of models"
        eventually(lambda: current()["version"] == "1.0", "the version that a person chose", node)

        answer = device.post("/upload", files=[("files", ("a.jpg", cat)), ("files", ("b.jpg", cat))])
        assert answer.status_code == 200
        eventually(lambda: len(workshop.images()) == 3, "the pictures of a person", node)
        assert sum("picked_by_system" in image["tags"] for image in workshop.images()) == 2
        device.close()


@pytest.mark.parametrize("era", ERAS)
def test_a_trainer_goes_from_begin_training_to_uploaded_detections(
    workshop: Workshop, photographs: Path, tmp_path: Path, era: str
) -> None:
    base = workshop.upload_model()
    workshop.upload_images(photographs, "complete")
    workshop.upload_images(photographs, "inbox")

    with upstream("trainer", era, workshop.loop, tmp_path) as node:
        trainer = eventually(lambda: workshop.ask("GET", "/api/nodes?kind=trainer")["nodes"], "the trainer", node)[0]
        assert (trainer["name"], trainer["state"], trainer["online"]) == ("upstream trainer", "idle", True)
        assert trainer["architecture"] == "made up"

        wish = {"trainer_id": trainer["id"], "base_model": "1.0", "hyperparameters": {"resolution": 640}}
        training = workshop.ask("POST", f"{PATH}/trainings", json=wish)
        assert (training["number"], training["state"]) == (1, "running")
        assert training["details"]["model_variant"] == "small"
        second = workshop.loop.http.post(f"{PATH}/trainings", json=wish)
        assert second.status_code == 409, "the trainer is busy"

        def ended() -> Any:
            found = workshop.ask("GET", f"{PATH}/trainings/1")
            return found if found["ended"] else None

        done = eventually(ended, "the end of the training", node)
        assert (done["state"], done["reason"]) == ("finished", None), node.log_text()
        epochs = [each["metrics"]["best_epoch"] for each in done["metrics"]]
        assert epochs == sorted(set(epochs))
        assert len(epochs) >= 2, "metrics came while it was running, and at its end"
        assert (
            done["metrics"][-1]["metrics"]["train_image_count"] + done["metrics"][-1]["metrics"]["test_image_count"]
            == 3
        )

        _, model = workshop.ask("GET", f"{PATH}/models")["models"]
        assert (model["version"], model["formats"]) == ("1.1", ["mocked", "mocked_for_devices"])
        assert done["metrics"][-1]["model_id"] == model["id"] != base["id"]
        for format in model["formats"]:
            data = workshop.loop.http.get(f"{PATH}/models/{model['id']}/{format}/file").content
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                assert archive.read("model.pt").decode() == f"weights of epoch {epochs[-1]}"
                document = json.loads(archive.read("model.json"))
            assert (document["version"], document["format"], document["id"]) == ("1.1", format, model["id"])

        assert len(workshop.images()) == 6
        for image in workshop.images():
            [box] = image["box_detections"]
            assert (box["model_name"], box["category_name"]) == ("1.1", "screw"), "found by the new model"
        eventually(
            lambda: workshop.ask("GET", "/api/nodes?kind=trainer")["nodes"][0]["state"] == "idle",
            "an idle trainer",
            node,
        )


def test_a_training_is_stopped_and_another_one_aborted(workshop: Workshop, photographs: Path, tmp_path: Path) -> None:
    workshop.upload_images(photographs, "complete")

    with upstream("trainer", "0.27", workshop.loop, tmp_path) as node:
        trainer = eventually(lambda: workshop.ask("GET", "/api/nodes?kind=trainer")["nodes"], "the trainer", node)[0]

        def state_of(number: int) -> Any:
            return workshop.ask("GET", f"{PATH}/trainings/{number}")

        def trains() -> bool:
            return bool(workshop.ask("GET", "/api/nodes?kind=trainer")["nodes"][0]["state"] == "running")

        for number, how, ends in ((1, "stop", "finished"), (2, "abort", "aborted")):
            eventually(
                lambda: workshop.ask("GET", "/api/nodes?kind=trainer")["nodes"][0]["state"] == "idle", "idleness", node
            )
            workshop.ask("POST", f"{PATH}/trainings", json={"trainer_id": trainer["id"]})
            eventually(trains, "a running training", node)
            workshop.ask("POST", f"{PATH}/trainings/{number}/{how}")
            eventually(lambda each=number: state_of(each)["ended"], f"the end by {how}", node)  # type: ignore[misc]
            assert state_of(number)["state"] == ends, node.log_text()
        assert [model["version"] for model in workshop.ask("GET", f"{PATH}/models")["models"]] == ["1.0"]


@pytest.mark.parametrize("era", ERAS)
def test_an_annotator_answers_what_a_person_draws(
    workshop: Workshop, photographs: Path, tmp_path: Path, era: str
) -> None:
    [hole] = [category for category in workshop.categories if category["type"] == "segmentation"]
    image_id = workshop.upload_images(photographs, "annotate")[0]

    with upstream("annotator", era, workshop.loop, tmp_path) as node:
        found = eventually(lambda: workshop.ask("GET", "/api/nodes?kind=annotation_node")["nodes"], "the node", node)
        assert found[0]["capabilities"] == ["segmentation"]
        path = f"/api/nodes/{found[0]['id']}"

        def draw(event_type: str, x: int, y: int, **more: Any) -> Any:
            data = {
                "coordinate": {"x": x, "y": y},
                "event_type": event_type,
                "context": {"organization": "workshop", "project": "parts"},
                "image_uuid": image_id,
                "category": hole,
                **more,
            }
            return workshop.ask("POST", f"{path}/user_input", json={"frontend_id": "page 1", "data": data})["payload"]

        assert draw("left_mouse_down", 10, 20) == '<polyline points="10,20"/>'
        assert draw("mouse_move", 30, 20) == '<polyline points="10,20 30,20"/>'
        assert draw("left_mouse_up", 30, 40) == '<polyline points="10,20 30,20 30,40"/>'
        [image] = [image for image in workshop.images() if image["id"] == image_id]
        [polygon] = image["segmentation_annotations"]
        assert polygon["category_id"] == hole["id"]
        assert polygon["shape"]["points"] == [{"x": 10, "y": 20}, {"x": 30, "y": 20}, {"x": 30, "y": 40}]

        assert draw("key_up", 0, 0, key_up="Escape") == ""
        assert draw("left_mouse_down", 5, 5) == '<polyline points="5,5"/>', "it has forgotten what was drawn"
        workshop.ask("POST", f"{path}/user_logout", json={"frontend_id": "page 1"})
