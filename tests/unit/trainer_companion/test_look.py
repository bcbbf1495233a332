"""Looking at many pictures with a model of PyTorch, in batches, portion by portion, and the same model as ONNX."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from models.bundle import open_bundle
from models.errors import ModelFailed
from models.load import load
from models.runtimes.base import Choice
from networks import bundles
from networks.edge import EdgeFamily
from networks.torch_runtime import TorchModel
from tests.support.shapes_network import CATEGORIES, SIZE, scene, trained
from trainer_companion import look
from trainer_companion.export import export
from trainer_companion.look import Sight, Task
from trainer_companion.memory import Card


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


def with_room_for(most: int, tried: list[int], error: Exception) -> Callable[[TorchModel, Any], Any]:
    """`TorchModel.infer_batch` on a machine whose memory is too small for more than `most` pictures."""
    infer_batch = TorchModel.infer_batch

    def small(self: TorchModel, images: Any) -> Any:
        tried.append(len(images))
        if len(images) > most:
            raise error
        return infer_batch(self, images)

    return small


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 1024"),
    ],
)
def test_what_does_not_fit_into_memory_is_looked_at_in_smaller_batches(
    tmp_path: Path,
    bundle: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    usual = task(tmp_path / "usual", bundle, images, batch_size=8)
    list(look.look(usual))
    tried: list[int] = []
    monkeypatch.setattr(TorchModel, "infer_batch", with_room_for(2, tried, error))
    folder = task(tmp_path / "look", bundle, images, batch_size=8)
    said = list(look.look(folder))
    # Eight, one of them unreadable; half of seven; half of that, and kept to.
    assert tried == [7, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert (said[-1].done, said[-1].unreadable) == (13, 2)
    assert "Out of memory with 7 pictures together; it goes on with 3." in caplog.messages
    found, expected = look.read_portion(folder, 0), look.read_portion(usual, 0)
    assert found is not None and expected is not None
    assert [each.image_id for each in found] == [each.image_id for each in expected]
    assert [len(each.box_detections) for each in found] == [len(each.box_detections) for each in expected]


@pytest.mark.parametrize(
    ("most", "error"),
    [
        pytest.param(0, torch.OutOfMemoryError("CUDA out of memory."), id="not even one"),
        pytest.param(3, RuntimeError("shape mismatch"), id="something else"),
    ],
)
def test_what_a_smaller_batch_does_not_mend_is_an_error(
    tmp_path: Path, bundle: Path, images: Path, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception
) -> None:
    tried: list[int] = []
    monkeypatch.setattr(TorchModel, "infer_batch", with_room_for(most, tried, error))
    with pytest.raises(ModelFailed, match=str(error)):
        list(look.look(task(tmp_path / "look", bundle, images)))
    assert tried == ([4, 2, 1] if most == 0 else [4])


@pytest.mark.parametrize(
    ("choice", "limit_gb", "expected"),
    [
        (Choice("torch", "cuda", 1), 2.0, [2.0]),
        (Choice("torch", "cuda", 1), None, []),
        (Choice("torch", "cpu", 1), 2.0, []),
        (Choice("onnx", "cuda", 1), 2.0, []),
    ],
)
def test_the_limit_is_obeyed_where_pytorch_uses_a_card(
    tmp_path: Path,
    bundle: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: Choice,
    limit_gb: float | None,
    expected: list[float],
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(Card, "limit", lambda self, limit_gb: limits.append(limit_gb))
    monkeypatch.setattr(look, "load", lambda *_, **__: SimpleNamespace(choice=choice, close=lambda: None))
    folder = task(tmp_path / "look", bundle, images)
    written = Task.model_validate_json((folder / look.TASK).read_bytes())
    asked = written.model_copy(update={"vram_limit_gb": limit_gb, "sights": []})
    (folder / look.TASK).write_text(asked.model_dump_json())
    assert list(look.look(folder)) == []
    assert limits == expected


def test_pytorch_is_not_loaded_for_models_that_need_none() -> None:
    asked = "import sys, trainer_companion.look; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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
