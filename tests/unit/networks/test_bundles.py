"""Networks on disk: written, read, run by PyTorch like any other model, and exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle import open_bundle
from models.errors import BundleError
from models.load import load
from models.runtimes.base import Choice
from models.runtimes.onnx import OnnxRuntime
from models.wire.model_information import Category
from networks import bundles, exporting
from networks.base import Network, family
from networks.torch_runtime import TorchRuntime

CATEGORIES = [Category(id="a", name="bolt", color="#ff0000"), Category(id="b", name="nut", type="point", point_size=20)]


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(1)
    made = family("edge").build({"input_width": 64, "input_height": 64, "width": 0.5}, 2)
    made(torch.rand(8, 3, 64, 64))  # so that batch normalization has seen something
    return made


@pytest.fixture
def folder(network: Network, tmp_path: Path) -> Path:
    return bundles.write(tmp_path / "bundle", network, "edge", CATEGORIES, conf_threshold=0.4)


def noise() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)


def test_a_network_comes_back_as_it_was_written(network: Network, folder: Path) -> None:
    bundle = open_bundle(folder)
    back = bundles.read(bundle)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name
    assert bundle.model.resolution == 64
    assert bundle.model.score_threshold == 0.4
    assert [category.name for category in bundle.model.categories] == ["bolt", "nut"]
    assert bundle.model.categories[1].point_size == 20


def test_pytorch_runs_it_as_any_detector_and_onnx_says_the_same(network: Network, folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.model.inference is not None
    detector = load(bundle, Choice("torch", "cpu", 1), cache=tmp_path)
    said = detector.candidates(noise())
    weights = exporting.to_onnx(network, tmp_path / "model.onnx")
    exported = OnnxRuntime().load(tmp_path / "model.onnx", weights, Choice("onnx", "cpu", 1), tmp_path)
    spec = bundle.model.inference.weights[0]
    torch_outputs = TorchRuntime().load(folder / spec.file, spec, Choice("torch", "cpu", 1), tmp_path).infer(noise())
    for ours, theirs in zip(torch_outputs, exported.infer(noise()), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert said.boxes is not None
    assert len(said.boxes) == torch_outputs[0].shape[1]  # the floor is 0: every cell is a candidate


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    document = json.loads((folder / "model.json").read_text())
    document["inference"]["architecture"]["width"] = 1.0
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="not those of the network"):
        bundles.read(open_bundle(folder))


def test_a_bundle_that_names_no_architecture_is_refused(folder: Path) -> None:
    document = json.loads((folder / "model.json").read_text())
    del document["inference"]["architecture"]
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="has to say family and architecture"):
        bundles.read(open_bundle(folder))


class Trap:
    """Unpickled, it would run a program."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.proof,))


def test_a_file_of_weights_cannot_run_anything(folder: Path, tmp_path: Path) -> None:
    torch.save({"stem": Trap(tmp_path / "was run")}, folder / bundles.WEIGHTS)
    with pytest.raises(BundleError, match="cannot be read as weights"):
        bundles.read(open_bundle(folder, verify_hashes=False))
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 half a zip"])
def test_a_damaged_file_of_weights_is_refused(folder: Path, content: bytes) -> None:
    (folder / bundles.WEIGHTS).write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read as weights"):
        bundles.read(open_bundle(folder, verify_hashes=False))
