"""The seed model: complete, unchanged, and the same on every box."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from models import zoo
from models.bundle import open_bundle
from models.images import encode_jpeg
from models.load import load
from models.runtimes.base import Choice
from models.zoo import make_everyday_objects

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"

SEEN = [
    # file, what a person sees in it, where (x, y, width, height of the picture's pixels, drawn by hand)
    ("astronaut.png", "person", (10, 5, 360, 505)),
    ("chelsea.png", "cat", (10, 5, 410, 290)),
    ("coffee.png", "cup", (165, 10, 250, 290)),
    ("motorcycle_left.png", "motorcycle", (110, 65, 560, 395)),
]


def test_model_json_is_what_the_recipe_writes() -> None:
    folder = zoo.seed_folder()
    labels = make_everyday_objects.read_labels((folder / "labels.txt").read_text(encoding="utf-8"))
    assert json.loads((folder / "model.json").read_text(encoding="utf-8")) == make_everyday_objects.model_json(
        labels, folder
    )


def test_the_weights_are_those_of_the_provenance() -> None:
    bundle = open_bundle(zoo.seed_folder(), verify_hashes=True)
    provenance = (zoo.seed_folder() / "PROVENANCE.md").read_text(encoding="utf-8")
    published = dict(re.findall(r"`(\S+\.tflite)` \|.*\| `([0-9a-f]{64})`", provenance))
    assert bundle.model.inference is not None
    assert published == {
        weights.file: weights.sha256 for weights in bundle.model.inference.weights if weights.file.endswith("tflite")
    }


def test_identity_and_categories_stay_the_same_forever() -> None:
    model = open_bundle(zoo.seed_folder()).model
    assert (model.organization, model.project, model.version) == ("detector-appliance", "everyday-objects", "0.0")
    by_class = {number: category.name for number, category in model.categories_by_class().items()}
    assert len(by_class) == 80
    assert (by_class[0], by_class[12], by_class[16], by_class[89]) == ("person", "stop sign", "cat", "toothbrush")
    person = next(category for category in model.categories if category.name == "person")
    assert person.id == "8b2a7dfb-0828-520a-bd92-ab1a2496a988"


def test_the_photograph_that_comes_along_shows_what_it_sees_and_says_whose_it_is(tmp_path: Path) -> None:
    picture = zoo.photograph()
    detector = load(open_bundle(zoo.seed_folder()), Choice.parse("litert/cpu/1"), cache=tmp_path, floor=0.5)
    found = detector.detect(picture.read_bytes()).detections.box_detections
    detector.close()
    cup = max(found, key=lambda box: box.confidence)

    assert cup.category_name == "cup"
    assert overlap((165, 10, 250, 290), (cup.x, cup.y, cup.width, cup.height)) > 0.8
    assert picture.stat().st_size < 60_000, "every box carries it"
    assert "CC0" in picture.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("choice", ["litert/cpu/1", "onnx/cpu/1"])
def test_it_sees_what_a_person_sees(choice: str, tmp_path: Path) -> None:
    detector = load(open_bundle(zoo.seed_folder()), Choice.parse(choice), cache=tmp_path, floor=0.5)
    for file, name, where in SEEN:
        picture = encode_jpeg(np.asarray(Image.open(PHOTOGRAPHS / file).convert("RGB")))
        answer = detector.detect(picture)
        found = [box for box in answer.detections.box_detections if box.category_name == name]
        assert found, f"no {name} in {file}: {answer.detections}"
        best = max(overlap(where, (box.x, box.y, box.width, box.height)) for box in found)
        assert best > 0.8, f"the {name} in {file} is at {where}, found were {found}"
    detector.close()


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)
