"""A network that classifies whole pictures, to LiteRT and ONNX by the real libraries, and run as a device runs it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from converter_companion.cli import main
from models.bundle import open_bundle, pack, unpack
from models.load import load
from models.runtimes.base import Choice
from models.wire.model_information import Category
from networks import bundles
from networks.classifier import ClassifierFamily, ClassifierNetwork
from tests.support.shapes_network import COLOURS

pytestmark = pytest.mark.slow

SIZE = 64
NAMES = list(COLOURS)


def picture(dice: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
    """A tinted spot on noise, uint8 RGB (64, 64, 3), and which of `COLOURS` it has."""
    pixels = dice.integers(60, 180, (SIZE, SIZE, 3), np.uint8)
    number = int(dice.integers(len(COLOURS)))
    side = int(dice.integers(24, 40))
    x, y = (int(dice.integers(0, SIZE - side)) for _ in range(2))
    there = pixels[y : y + side, x : x + side]
    there[:] = (0.4 * there + 0.6 * np.array(COLOURS[NAMES[number]])).astype(np.uint8)
    return pixels, number


def trained(steps: int = 80) -> ClassifierNetwork:
    """One that tells the colours."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    dice = np.random.default_rng(3)
    network = ClassifierFamily().build({"input_width": SIZE, "input_height": SIZE, "width": 0.25}, len(COLOURS))
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(steps):
        shown = [picture(dice) for _ in range(16)]
        pixels = torch.from_numpy(np.stack([each for each, _ in shown])).permute(0, 3, 1, 2).float() / 255
        wanted = torch.tensor([number for _, number in shown])
        loss = torch.nn.functional.cross_entropy(network.raw(pixels), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.eval()
    return network


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder whose pictures are of one class each."""
    folder = tmp_path_factory.mktemp("spots")
    (folder / "images").mkdir()
    dice = np.random.default_rng(9)
    images, annotations = [], []
    for index in range(32):
        pixels, number = picture(dice)
        name = f"spot_{index:02}.png"
        cv2.imwrite(str(folder / "images" / name), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        images.append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
        annotations.append({"id": index, "image_id": index, "category_id": number, "bbox": [0, 0, SIZE, SIZE]})
    categories = [{"id": number, "name": name, "type": "classification"} for number, name in enumerate(NAMES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_a_classifier_says_the_same_after_its_conversion(spots: Path, tmp_path: Path) -> None:
    categories = [Category(id=f"id-{name}", name=name, type="classification") for name in NAMES]
    bundles.write(tmp_path / "bundle", trained(), "edge_classifier", categories, more={"version": "2.0"})
    pack(tmp_path / "bundle", tmp_path / "spots.zip")
    arguments = ["convert", str(tmp_path / "spots.zip"), "--to", "litert,onnx", "--from", "appliance_pytorch"]
    folders = ["--images", str(spots), "--out", str(tmp_path / "out"), "--data-dir", str(tmp_path)]
    assert main([*arguments, *folders]) == 0
    for target in ("litert", "onnx"):
        with zipfile.ZipFile(tmp_path / "out" / f"spots-{target}.zip") as archive:
            parity = json.loads(archive.read("parity.json"))
        assert parity["source"]["accuracy"] > 0.9, "the network has learnt nothing; nothing would be proven"
        for each in parity["results"]:
            assert each["same_best"] > 0.95
            assert abs(each["result"]["accuracy"] - parity["source"]["accuracy"]) < 0.05
            assert each["mean_score_drift"] < 0.03

    unpack(tmp_path / "out" / "spots-litert.zip", tmp_path / "device")
    detector = load(open_bundle(tmp_path / "device"), Choice("litert", "cpu", 1, "model_int8.tflite"), cache=tmp_path)
    try:
        dice = np.random.default_rng(11)
        for _ in range(12):
            pixels, number = picture(dice)
            [surest, *_] = detector.detect(pixels).detections.classification_detections
            assert surest.category_name == NAMES[number]
    finally:
        detector.close()
