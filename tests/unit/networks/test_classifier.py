"""Classifiers of whole pictures: what they say, and what comes out of PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from models.errors import BundleError
from models.heads import head
from models.heads.base import HeadContext
from networks.base import family
from networks.classifier import ClassifierNetwork
from networks.exporting import to_onnx


def classifier(class_count: int = 3, **architecture: Any) -> ClassifierNetwork:
    network = family("edge_classifier").build(architecture, class_count)
    assert isinstance(network, ClassifierNetwork)
    return network


@pytest.mark.parametrize(
    "architecture",
    [
        {"input_width": 64, "input_height": 96},
        {"backbone": "mobilenet_v2", "width": 0.35, "input_width": 96, "input_height": 64},
        {"width": 0.5, "blocks": 2, "input_width": 224, "input_height": 224},
    ],
)
def test_every_picture_has_a_score_for_each_class_and_they_add_up(architecture: dict[str, Any]) -> None:
    network = classifier(**architecture).eval()
    with torch.inference_mode():
        (scores,) = network(torch.rand(2, 3, architecture["input_height"], architecture["input_width"]))
    assert scores.shape == (2, 3)
    assert scores.sum(1).tolist() == pytest.approx([1.0, 1.0])
    again = classifier(**network.architecture)
    assert [tensor.shape for tensor in again.state_dict().values()] == [
        tensor.shape for tensor in network.state_dict().values()
    ]


def test_the_devices_head_reads_them_surest_first() -> None:
    network = classifier(input_width=64, input_height=64)
    context = HeadContext(64, 64, {"scores": 0}, network.head_options, 0.1, 3)
    found = head(network.head).decode([np.array([[0.2, 0.75, 0.05]], np.float32)], context)
    assert found.boxes is None
    assert found.classes.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.75, 0.2])


def test_every_weight_learns_from_a_single_step() -> None:
    network = classifier(input_width=64, input_height=64)
    before = {name: value.clone() for name, value in network.named_parameters()}
    loss = torch.nn.functional.cross_entropy(network.raw(torch.rand(4, 3, 64, 64)), torch.tensor([0, 1, 2, 0]))
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(network.parameters(), 0.1).step()
    assert [name for name, value in network.named_parameters() if torch.equal(value, before[name])] == []


def test_onnx_says_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = classifier(input_width=64, input_height=64, width=0.5).eval()
    spec = to_onnx(network, tmp_path / "model.onnx")
    assert spec.outputs == {"scores": 0}
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    picture = torch.rand(1, 3, 64, 64)
    (got,) = session.run(None, {"pictures": picture.numpy()})
    with torch.inference_mode():
        assert np.abs(got - network(picture)[0].numpy()).max() < 1e-4


@pytest.mark.parametrize(
    ("architecture", "class_count", "sentence"),
    [
        pytest.param({"input_width": 100}, 3, "multiples of 16", id="odd size"),
        pytest.param({"backbone": "vgg"}, 3, "backbone", id="an unknown backbone"),
        pytest.param({}, 0, "at least one category", id="no category"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(
    architecture: dict[str, Any], class_count: int, sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence):
        classifier(class_count, **architecture)
