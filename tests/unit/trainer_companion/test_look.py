"""Looking at many pictures with a model of PyTorch, in batches, portion by portion, and the same model as ONNX."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.bundle import open_bundle
from models.load import load
from networks import bundles
from networks.edge import EdgeFamily
from tests.support.shapes_network import CATEGORIES, SIZE, scene, trained
from trainer_companion import look
from trainer_companion.export import export
from trainer_companion.look import Sight, Task


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has learnt to see coloured squares."""
    folder = tmp_path_factory.mktemp("bundle")
    return bundles.write(folder, trained(), EdgeFamily.name, CATEGORIES, conf_threshold=0.3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures; the fifth is none."""
    folder = tmp_path_factory.mktemp("images")
    dice = np.random.default_rng(5)
    for number in range(12):
        picture, _ = scene(dice)
        cv2.imwrite(str(folder / f"{number}.jpg"), picture[:, :, ::-1])
    (folder / "5.jpg").write_bytes(b"no picture")
    return folder


def task(folder: Path, bundle: Path, images: Path, batch_size: int = 4) -> Path:
    sights = [Sight(id=f"id-{number}", file=f"{number}.jpg") for number in range(13)]  # the last one is not there
    folder.mkdir()
    (folder / look.TASK).write_text(
        Task(bundle=bundle, images=images, batch_size=batch_size, sights=sights).model_dump_json()
    )
    return folder


def test_batches_find_what_one_by_one_finds(tmp_path: Path, bundle: Path, images: Path) -> None:
    folder = task(tmp_path / "look", bundle, images)
    said = list(look.look(folder))
    assert [line.done for line in said] == [4, 8, 12, 13]
    assert sum(line.unreadable for line in said[-1:]) == 2
    found = look.read_portion(folder, 0)
    assert found is not None
    assert [each.image_id for each in found] == [f"id-{n}" for n in range(12) if n != 5]
    detector = load(open_bundle(bundle), cache=tmp_path, floor=0.3, lanes=1)
    count = 0
    for each in found:
        assert each.image_id is not None
        alone = detector.detect((images / f"{each.image_id[3:]}.jpg").read_bytes()).detections.box_detections
        assert len(alone) == len(each.box_detections)
        for one, other in zip(alone, each.box_detections, strict=True):
            assert (one.category_name, one.x, one.y) == (other.category_name, other.x, other.y)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-3)
        count += len(alone)
    assert count >= 11, "the network sees nothing, so nothing was compared"


def test_portions_that_are_there_are_not_looked_at_again(
    tmp_path: Path, bundle: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "PORTION", 5)
    folder = task(tmp_path / "look", bundle, images)
    looking = look.look(folder)
    for line in looking:
        if line.done > 5:
            break
    looking.close()
    assert [look.portion_file(folder, n).exists() for n in range(3)] == [True, False, False]
    first = look.portion_file(folder, 0)
    first.write_text("[]")
    assert [line.done for line in look.look(folder)] == [9, 10, 13]
    assert first.read_text() == "[]"
    assert len(look.read_portion(folder, 2) or []) == 2


def test_the_program_says_lines_or_why_it_cannot(tmp_path: Path, bundle: Path, images: Path) -> None:
    folder = task(tmp_path / "look", bundle, images)
    program = [sys.executable, "-m", "trainer_companion.look", str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert look.Looked.model_validate_json(done.stdout.splitlines()[-1]).done == 13
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    (broken / bundles.WEIGHTS).unlink()
    folder = task(tmp_path / "again", broken, images)
    failed = subprocess.run([*program[:-1], str(folder)], capture_output=True, text=True)
    assert failed.returncode == 1
    assert bundles.WEIGHTS in failed.stderr


def test_as_onnx_it_finds_the_same(tmp_path: Path, bundle: Path) -> None:
    out = export(bundle, tmp_path / "onnx")
    dice = np.random.default_rng(9)
    picture, _ = scene(dice)
    torch.manual_seed(0)
    kinds = {}
    for folder in (bundle, out):
        detector = load(open_bundle(folder), cache=tmp_path, floor=0.05, lanes=1)
        kinds[folder] = detector.detect(picture).detections.box_detections
    assert len(kinds[bundle]) == len(kinds[out]) > 0
    for one, other in zip(kinds[bundle], kinds[out], strict=True):
        assert (one.category_name, one.x, one.y, one.width) == (other.category_name, other.x, other.y, other.width)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    model = open_bundle(out).model
    assert model.conf_threshold == 0.3
    assert model.inference is not None
    assert [spec.runtime for spec in model.inference.weights] == ["onnx"]
    assert model.resolution == SIZE
