"""The edge family: what its networks say, and what cannot be built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.errors import BundleError
from models.heads import head
from models.heads.base import HeadContext
from networks.base import family
from networks.edge import EdgeNetwork


def edge(class_count: int = 3, **architecture: Any) -> EdgeNetwork:
    network = family("edge").build(architecture, class_count)
    assert isinstance(network, EdgeNetwork)
    return network


@pytest.mark.parametrize(
    "architecture",
    [
        {"input_width": 64, "input_height": 96},
        {"backbone": "mobilenet_v2", "width": 0.35, "input_width": 96, "input_height": 64},
        {"width": 0.5, "blocks": 2, "input_width": 64, "input_height": 64},
    ],
)
def test_every_cell_has_four_distances_and_a_score_for_each_class(architecture: dict[str, Any]) -> None:
    network = edge(**architecture).eval()
    width, height = architecture["input_width"], architecture["input_height"]
    cells = (width // 8) * (height // 8) + (width // 16) * (height // 16)
    with torch.inference_mode():
        distances, scores = network(torch.rand(2, 3, height, width))
    assert distances.shape == (2, cells, 4)
    assert scores.shape == (2, cells, 3)
    assert 0.0 <= float(scores.min()) <= float(scores.max()) < 0.1  # nothing is seen before it has been learnt
    centres, strides = network.cells()
    assert centres.shape == (cells, 2)
    assert strides.shape == (cells,)
    assert network.architecture == {**edge().architecture, **architecture}


def test_the_devices_head_reads_the_cells_as_the_network_counts_them() -> None:
    network = edge(input_width=96, input_height=64)
    centres, strides = network.cells()
    distances = np.ones((1, len(centres), 4), np.float32)
    scores = np.full((1, len(centres), 3), 0.9, np.float32)
    context = HeadContext(96, 64, {"distances": 0, "scores": 1}, network.head_options, 0.5, 3)
    found = head(network.head).decode([distances, scores], context)
    assert found.boxes is not None
    reach = strides[:, None]
    np.testing.assert_allclose(found.boxes, torch.cat([centres - reach, centres + reach], 1).numpy())


def test_a_network_learns_from_a_single_step() -> None:
    network = edge(input_width=64, input_height=64)
    before = {name: value.clone() for name, value in network.named_parameters()}
    distances, logits = network.raw(torch.rand(2, 3, 64, 64))
    (distances.square().mean() + logits.square().mean()).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(network.parameters(), 0.1).step()
    still = [name for name, value in network.named_parameters() if torch.equal(value, before[name])]
    assert still == []


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        pytest.param({"input_width": 100}, "multiples of 16", id="cells do not fill it"),
        pytest.param({"backbone": "vgg"}, "backbone", id="an unknown backbone"),
        pytest.param({"widht": 2}, "widht", id="a misspelt key"),
        pytest.param({"width": 99}, "width", id="too wide"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(architecture: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        edge(**architecture)


def test_a_detector_without_categories_is_refused() -> None:
    with pytest.raises(BundleError, match="at least one category"):
        edge(class_count=0)
