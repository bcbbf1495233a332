"""LiteRT and ONNX Runtime see the same things in real photographs, with the weights of the seed model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from PIL import Image

from models import zoo
from models.bundle import open_bundle
from models.detector import Detector
from models.fastest import agree
from models.geometry import iou_matrix
from models.images import encode_jpeg
from models.load import load
from models.runtimes.base import Choice
from models.wire.detections import BoxDetection

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
WAYS = ["litert/cpu/1", "litert/cpu/2", "onnx/cpu/1", "onnx/cpu/2"]


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Detector]:
    bundle, cache = open_bundle(zoo.seed_folder()), tmp_path_factory.mktemp("cache")
    return {way: load(bundle, Choice.parse(way), cache=cache, floor=0.3, lanes=1) for way in WAYS}


def photograph(name: str) -> bytes:
    return encode_jpeg(np.asarray(Image.open(PHOTOGRAPHS / name).convert("RGB")))


def corners(box: BoxDetection) -> NDArray[np.float32]:
    return np.array([[box.x, box.y, box.x + box.width, box.y + box.height]], np.float32)


@pytest.mark.parametrize(("name", "seen"), [("astronaut.png", "person"), ("chelsea.png", "cat"), ("coffee.png", "cup")])
def test_they_see_the_same(detectors: dict[str, Detector], name: str, seen: str) -> None:
    picture = photograph(name)
    best = {}
    for way, detector in detectors.items():
        found = detector.detect(picture).detections.box_detections
        best[way] = next(box for box in found if box.category_name == seen)
    reference = best["litert/cpu/1"]
    for way, box in best.items():
        assert box.confidence == pytest.approx(reference.confidence, abs=0.05), way
        assert iou_matrix(corners(box), corners(reference))[0, 0] > 0.95, way
    prepared = detectors["litert/cpu/1"].prepare(picture)
    expected = detectors["litert/cpu/1"].candidates(prepared.pixels)
    assert all(agree(expected, detector.candidates(prepared.pixels)) for detector in detectors.values())
