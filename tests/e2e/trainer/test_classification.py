"""A project whose pictures have classes and no boxes: trained by the real programs, published, and answered by a device."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.circle import SHOP, Loop, a_box, a_loop, wait_for
from tests.e2e.companions.test_model_life import companion, trainers
from tests.service.loop_server.pictures import metadata, pair
from tests.support.coco_folders import COLOURS, square_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = tuple(COLOURS)
PICTURES = 60
TRAINING = {"epochs": 8, "resolution": 64}
TRAINED_WITHIN_S = 240.0


def pictures(count: int, seed: int) -> list[tuple[bytes, str]]:
    """JPEGs of coloured squares, with the colour."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        done, jpeg = cv2.imencode(".jpg", square_of(name, rng)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert done
        made.append((jpeg.tobytes(), name))
    return made


def fill(loop: Loop, collected: list[tuple[bytes, str]]) -> None:
    """A project of people who have said of each picture what it shows."""
    categories = [{"name": name, "type": "classification"} for name in NAMES]
    loop.ask("POST", "/api/acme/projects", json={"project_name": "kitchens", "categories": categories})
    for number, (jpeg, name) in enumerate(collected):
        said = metadata(state="complete", classification_annotation={"category_name": name})
        loop.ask("POST", f"{SHOP}/images", files=pair(f"image_{number}", jpeg, said))


def test_classes_are_learnt_published_and_answered_by_a_device(tmp_path: Path) -> None:
    collected = pictures(PICTURES, seed=1)
    with a_loop(tmp_path) as loop:
        fill(loop, collected)
        with companion("trainer_companion", tmp_path, loop):
            [trainer] = wait_for(
                "a trainer", lambda: [each for each in trainers(loop) if each["online"] and each["state"] == "idle"]
            )
            wish = {"trainer_id": trainer["id"], "model_variant": "edge-classify-128", "hyperparameters": TRAINING}
            loop.ask("POST", f"{SHOP}/trainings", json=wish)
            wait_for("the end", lambda: loop.ask("GET", f"{SHOP}/trainings/1")["ended"], TRAINED_WITHIN_S)
            training = loop.ask("GET", f"{SHOP}/trainings/1")
            assert training["state"] == "finished", training
        ids = loop.category_ids()
        matrix = training["metrics"][-1]["metrics"]["confusion_matrix"]
        assert set(matrix) == set(ids.values())
        assert sum(counts["tp"] for counts in matrix.values()) > 0

        [model] = loop.ask("GET", f"{SHOP}/models")["models"]
        assert sorted(model["formats"]) == ["appliance_pytorch", "onnx"]
        truth = {hashlib.sha256(jpeg).hexdigest(): name for jpeg, name in collected}
        right = 0
        for id in loop.ask("GET", f"{SHOP}/data")["image_ids"]:
            query = {"ids": id, "model_version": model["version"]}
            [image] = loop.ask("GET", f"{SHOP}/images", params=query)["images"]
            assert image["box_detections"] == []
            picture = loop.http.get(f"{SHOP}/images/{id}/main").content
            best = max(image["classification_detections"], key=lambda each: each["confidence"], default=None)
            if best is None:
                continue
            assert not {"x", "y", "width", "height"} & set(best)
            assert best["category_id"] == ids[best["category_name"]]
            right += best["category_name"] == truth[hashlib.sha256(picture).hexdigest()]
        assert right >= 0.8 * PICTURES, right

        loop.deploy(model["id"])
        with a_box(tmp_path, loop, environment={"MODEL_FORMAT": "onnx"}) as box:
            box.process.start()
            box.process.wait_until("/healthz")
            wait_for("the model in service", lambda: box.serves(model["version"]))
            fresh = pictures(9, seed=2)
            seen = [box.detect(jpeg, autoupload="disabled")["classification_detections"] for jpeg, _ in fresh]
            named = [
                (found[0]["category_name"] if found else None, name)
                for found, (_, name) in zip(seen, fresh, strict=True)
            ]
            assert sum(got == name for got, name in named) >= 7, named
            [first, *_] = next(found for found in seen if found)
            assert first["model_name"] == model["version"]
            assert first["category_id"] == ids[first["category_name"]]
