"""A box takes over from a learning-loop-node of each era, on the data folder that the real library has made; and gives back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.peers import run_peer
from tests.e2e.server_process import ServerProcess, appliance_process
from tests.service.bundles import model_zip
from tests.service.running_loop import RunningLoop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # making a peer's environment takes minutes

SHOP = "/api/acme/projects/kitchens"
PATIENCE = 90.0


def wait_for(what: str, found: Callable[[], Any]) -> Any:
    """The first answer of `found` that is not empty."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come about within {PATIENCE:g} s")


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[RunningLoop]:
    """The embedded loop with the project that the node has worked for."""
    with RunningLoop(tmp_path / "loop") as running:
        made = running.http.post(
            "/api/acme/projects", json={"project_name": "kitchens", "categories": [{"name": "cat", "type": "box"}]}
        )
        assert made.is_success, made.text
        yield running


@pytest.fixture
def box(tmp_path: Path, loop: RunningLoop) -> Iterator[ServerProcess]:
    """The appliance on the node's folder, with the variables that the node had."""
    made = appliance_process(
        tmp_path / "box",
        environment={
            "LOOP_HOST": loop.host,
            "LOOP_ORGANIZATION": "acme",
            "LOOP_PROJECT": "kitchens",
            "NODE_NAME": "robot 7",
            "SYNC_CYCLES": "1",
            "RUNTIME": "onnx/cpu/1",
        },
    )
    try:
        yield made
    finally:
        made.kill()


def images(loop: RunningLoop) -> dict[str, dict[str, Any]]:
    """What the Loop has, by tag."""
    ids = loop.http.get(f"{SHOP}/data").json()["image_ids"]
    found = loop.http.get(f"{SHOP}/images", params={"ids": ",".join(ids)}).json()["images"] if ids else []
    return {tag: image for image in found for tag in image["tags"]}


@pytest.mark.parametrize("era", ["0.13", "0.20", "0.27"])
def test_a_box_takes_over_from_a_node_and_the_node_could_go_on(
    era: str, loop: RunningLoop, box: ServerProcess, photographs: Path, tmp_path: Path
) -> None:
    data, peer = tmp_path / "box", f"learning-loop-node-{era}"
    zips = [tmp_path / "foreign.zip", tmp_path / "ours.zip"]
    zips[0].write_bytes(model_zip("1.0", format="yolov5_wts"))
    zips[1].write_bytes(model_zip("1.1"))
    node = run_peer(peer, "data_folder.py", "make", data, era, photographs, *zips, home=tmp_path)
    assert len(node["waiting"]) == 2
    assert (node["current"], node["local_versions"]) == ("1.1", ["1.0", "1.1"])

    box.start()
    box.wait_until("/readyz")

    with httpx.Client(base_url=f"http://127.0.0.1:{box.port}", timeout=60.0, trust_env=False) as http:
        sent = wait_for("both pictures in the Loop", lambda: len(found := images(loop)) == 2 and found)
        assert sorted(sent) == ["picked_by_system", "uncertain"]
        assert {image["name"] for image in sent.values()} == {
            f"image_{Path(folder).name}" for folder in node["waiting"]
        }
        picture = loop.http.get(f"{SHOP}/images/{sent['picked_by_system']['id']}/main").content
        if era != "0.20":  # encoded every picture anew
            assert picture == (photographs / "cat.jpg").read_bytes()
        assert [each["category_name"] for each in sent["uncertain"]["box_detections"]] == ["cat"]
        wait_for("an empty outbox", lambda: http.get("/api/v1/outbox").json()["waiting"] == 0)
        [detector] = wait_for("a status", lambda: loop.http.get(f"{SHOP}/detectors").json()["detectors"])
        assert detector["uuid"] == node["uuid"]
        about = http.get("/about").json()
        assert (about["model_info"]["version"], about["model_info"]["project"]) == ("1.1", "kitchens"), (
            "it served before"
        )
        listed = http.get("/api/v1/models").json()
        assert [model["version"] for model in listed["models"] if model["current"]] == ["1.1"]
        assert [(model["folder"], model["format"]) for model in listed["foreign"]] == [("1.0", "yolov5_wts")]
    box.stop()
    assert "2 pictures" in box.log_text()
    assert "Traceback" not in box.log_text()

    again = run_peer(peer, "data_folder.py", "again", data, era, home=tmp_path)

    assert (again["uuid"], again["current"]) == (node["uuid"], "1.1")
    assert set(again["local_versions"]) == {"1.0", "1.1"}
    assert not set(again["waiting"]) & set(node["waiting"]), "nothing is sent twice"
    if era != "0.13":
        assert again["waiting"] == []
    assert len(list((data / "tmp").iterdir())) == 1, "what the node had not finished is where it was"


@pytest.mark.parametrize("era", ["0.20", "0.27"])
def test_what_a_standalone_box_keeps_a_node_would_send(era: str, photographs: Path, tmp_path: Path) -> None:
    """The queues are the same files for both: a picture that the box has kept waits for the node, too."""
    data = tmp_path / "standalone"
    box = appliance_process(data, environment={"RUNTIME": "onnx/cpu/1"})
    try:
        box.start()
        box.wait_until("/readyz")
        files = {"files": (photographs / "cat.jpg").read_bytes()}
        assert httpx.post(f"http://127.0.0.1:{box.port}/upload", files=files, timeout=60.0).status_code == 200
        box.stop()
    finally:
        box.kill()

    zip_path = tmp_path / "ours.zip"
    zip_path.write_bytes(model_zip("1.1"))
    node = run_peer(
        f"learning-loop-node-{era}", "data_folder.py", "make", data, era, photographs, zip_path, home=tmp_path
    )

    [ours] = [folder for folder in node["waiting"] if ":" not in folder]
    identifier = Path(ours).name
    assert {path.name for path in (data / ours).iterdir()} == {f"image_{identifier}.jpg", f"image_{identifier}.json"}
    assert len(node["waiting"]) == 3
