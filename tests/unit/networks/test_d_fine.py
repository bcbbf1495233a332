"""The transformer family: what its networks say, what leaves PyTorch, and what cannot be built."""

from __future__ import annotations

import builtins
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
from networks.d_fine import DFineNetwork
from networks.exporting import to_onnx


def d_fine(class_count: int = 3, seed: int = 0, **architecture: Any) -> DFineNetwork:
    torch.manual_seed(seed)
    network = family("d_fine").build({"size": "nano", **architecture}, class_count)
    assert isinstance(network, DFineNetwork)
    return network


@pytest.fixture(scope="module")
def small() -> DFineNetwork:
    return d_fine(input_width=96, input_height=64)


def test_every_query_is_a_box_and_a_logit_for_each_class(small: DFineNetwork) -> None:
    with torch.inference_mode():
        boxes, logits = small.eval()(torch.rand(2, 3, 64, 96))
    cells = (96 // 16) * (64 // 16) + (96 // 32) * (64 // 32)
    assert boxes.shape == (2, cells, 4)
    assert logits.shape == (2, cells, 3)
    assert 0.0 <= float(boxes.min()) <= float(boxes.max()) <= 1.0
    assert float(logits.sigmoid().max()) < 0.2  # nothing is seen before it has been learnt
    assert small.architecture == {"size": "nano", "input_width": 96, "input_height": 64}


def test_the_devices_head_reads_what_it_says(small: DFineNetwork) -> None:
    boxes = np.full((1, 30, 4), 0.5, np.float32)
    boxes[0, 7] = (0.25, 0.5, 0.5, 0.5)
    logits = np.full((1, 30, 3), -9.0, np.float32)
    logits[0, 7, 2] = 3.0
    context = HeadContext(96, 64, {"boxes": 0, "logits": 1}, small.head_options, 0.5, 3)
    found = head(small.head).decode([boxes, logits], context)
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[0, 16, 48, 48]])
    assert found.classes.tolist() == [2]


@pytest.mark.parametrize(
    ("size", "millions_of_weights"), [("nano", 3.8), ("small", 10.3), ("medium", 19.6), ("large", 31.3)]
)
def test_sizes_have_as_many_weights_as_those_that_were_published_for_coco(
    size: str, millions_of_weights: float
) -> None:
    """The files of ustc-community/dfine-*-coco hold 15.3, 41.5, 78.7 and 126 MB of float32."""
    network = d_fine(80, size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(
        millions_of_weights, abs=0.1
    )


def test_onnx_says_the_same(small: DFineNetwork, tmp_path: Path) -> None:
    network = d_fine(2, seed=3, input_width=64, input_height=64)
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        mine = [output.numpy() for output in network.eval()(pictures)]
    weights = to_onnx(network, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"pictures": pictures.numpy()})
    assert weights.outputs == {"boxes": 0, "logits": 1}
    for a, b in zip(mine, theirs, strict=True):  # a fresh network ranks its queries by rounding errors
        np.testing.assert_allclose(np.sort(a, axis=1), np.sort(b, axis=1), atol=1e-4)


def test_pictures_without_things_give_every_weight_a_gradient(small: DFineNetwork) -> None:
    """Processes that train together wait for the gradient of each."""
    nothing = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    small.train().zero_grad()
    small.loss(torch.rand(2, 3, 64, 96), [nothing, nothing]).backward()  # type: ignore[no-untyped-call]
    lost = [name for name, each in small.named_parameters() if each.requires_grad and each.grad is None]
    assert lost == []


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"size": "huge"}, "size"),
        ({"input_width": 100}, "multiples of 32"),
        ({"input_width": 32}, "input_width"),
        ({"queries": 10}, "queries"),
    ],
)
def test_what_cannot_be_built_is_said(architecture: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        d_fine(**architecture)


def test_without_its_library_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BundleError, match="extra 'trainer' or 'converter'"):
        d_fine()
