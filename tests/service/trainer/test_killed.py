"""A trainer that is killed goes on where it was: in every stage, and between any two."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.identity import UUIDS_FILE
from tests.service.loop_server.shop import zip_bytes
from tests.service.running_loop import RunningLoop
from tests.service.trainer.trainers import ROOT, Place, weights
from tests.support import fake_training, trainer_process

PATIENCE_S = 120.0
PICTURES = 7

STEPS = {
    "data_downloading": (14, 0, 1, 6),
    "train_model_downloading": (3, 0),
    "running": (11, 0, 2, 5),
    "confusion_matrix_syncing": (1, 0),
    "train_model_uploading": (4, 0, 1),
    "detecting": (7, 0, 2),
    "detection_uploading": (1, 0, 2),
    "ready_for_cleanup": (4, 1, 7),
}
"""Stage -> steps on the disk before which it is killed; 0: when the stage is done and that is written down."""


def start(place: Place, stage: str, step: int) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", trainer_process.__name__]
    arguments = [place.loop.host, str(place.folder), place.name, str(weights()), stage, str(step)]
    return subprocess.Popen([*program, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE)


def pictures(place: Place) -> dict[str, int]:
    """Those that are complete: name -> when they were written, ns."""
    return {path.name: path.stat().st_mtime_ns for path in place.folder.glob("projects/*/*/images/*.jpg")}


QUICK = 2
"""So many of each stage are tried also when there is little time."""

CASES = [
    pytest.param(stage, step, marks=[] if number < QUICK else [pytest.mark.slow])
    for stage, steps in STEPS.items()
    for number, step in enumerate(steps)
]


@pytest.mark.parametrize(("stage", "step"), CASES)
def test_it_goes_on_where_it_was(loop: RunningLoop, tmp_path: Path, stage: str, step: int) -> None:
    place = Place(loop, tmp_path / "trainer")
    ids = place.annotated(PICTURES)
    base = tmp_path / "base"
    fake_training.write_bundle(base, weights(), [{"id": place.shop.categories["bolt"], "name": "bolt"}], 0)
    (base / "network.pt").write_bytes(b"what a training begins with")  # the one here looks at nothing of it
    zipped = zip_bytes({path.name: path.read_bytes() for path in base.iterdir()})
    made = loop.http.post(f"{place.shop.path}/appliance_pytorch", files={"files": ("base.zip", zipped)})
    assert made.status_code == 200, made.text

    with start(place, stage, step) as first:
        begin(place, made.json()["id"])
        assert first.wait(PATIENCE_S) == -9, "it came to its end without being killed"
    before = pictures(place)
    with start(place, "", 1) as second:
        try:
            said, _ = second.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            second.kill()
            raise
    if stage != "ready_for_cleanup" or said:  # killed at the very end it has nothing left to do
        assert said.strip() == "idle"

    after = pictures(place)
    assert {name: after[name] for name in before} == before, "a picture was fetched twice"
    assert len(after) == len(ids)
    listed = loop.http.get(f"{place.shop.path}/models").json()["models"]
    new = [model for model in listed if model["id"] != made.json()["id"]]
    assert [sorted(model["formats"]) for model in new] == [["appliance_pytorch", "onnx"]]
    for image_id in ids:
        [found] = place.shop.image(image_id, model_version=new[0]["version"])["box_detections"]
        assert found["category_name"] == "bolt"
    training = loop.http.get(f"{place.shop.path}/trainings/1").json()
    assert training["state"] == "finished"
    assert training["metrics"][-1]["metrics"]["best_epoch"] == 3
    assert not (place.folder / "training.json").exists()
    assert not list(place.folder.glob("projects/*/*/trainings/*/detections"))
    started = next(iter(place.folder.glob("projects/*/*/trainings/*/job/best")), None)
    assert started is not None, "the best model stays until the next training begins"


def begin(place: Place, base: str | None) -> None:
    """A person begins a training, as soon as the trainer is there."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        listed = [node for node in place.loop.services.nodes.known("trainer") if node.status["name"] == place.name]
        if listed and listed[0].online:
            wish = {"trainer_id": listed[0].id, **({} if base is None else {"base_model": base})}
            answer = place.loop.http.post(f"{place.shop.path}/trainings", json=wish)
            assert answer.status_code in (201, 504), answer.text  # 504: it was killed before it could answer
            assert (place.folder / UUIDS_FILE).exists()
            return
        time.sleep(0.02)
    raise AssertionError("the trainer never connects")
