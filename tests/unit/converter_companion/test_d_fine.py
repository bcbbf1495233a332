"""A transformer through the converter and its gate, in single and in half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from converter_companion import convert, pictures, truth
from converter_companion.convert import Conversion
from converter_companion.report import ParityExceeded
from models.bundle import open_bundle
from networks import bundles
from networks.base import family
from networks.d_fine import DFineNetwork
from tests.support.shapes_network import CATEGORIES, SIZE, scene

pytestmark = pytest.mark.slow


def nano() -> DFineNetwork:
    """The smallest there is, as it begins."""
    torch.manual_seed(0)
    made = family("d_fine").build({"size": "nano", "input_width": SIZE, "input_height": SIZE}, len(CATEGORIES))
    assert isinstance(made, DFineNetwork)
    return made.eval()


def accustomed(network: DFineNetwork) -> DFineNetwork:
    """Its statistics are those of pictures: without them nearly nothing arrives at the end of so many layers."""
    dice = np.random.default_rng(1)
    shown = torch.from_numpy(np.stack([scene(dice)[0] for _ in range(16)])).permute(0, 3, 1, 2).float() / 255
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    network.train()
    with torch.no_grad():
        for _ in range(8):
            network(shown)
    return network.eval()


def converted(network: DFineNetwork, scenes: Path, folder: Path) -> Conversion:
    more = {"version": "1.0", "id": "a-model", "format": "appliance_pytorch"}
    # It has not learnt to see anything: so low that there is something to compare all the same.
    bundles.write(folder / "source", network, "d_fine", CATEGORIES, conf_threshold=0.05, more=more)
    return convert.convert(
        open_bundle(folder / "source"),
        "onnx",
        folder / "made",
        pictures.find(scenes),
        lambda _share, _doing: None,
        means=convert.Means(folder),
        annotations=truth.read(scenes),
    )


def test_single_and_half_precision_see_what_pytorch_sees(scenes: Path, tmp_path: Path) -> None:
    done = converted(accustomed(nano()), scenes, tmp_path)
    assert done.report is not None
    [single, half] = done.report.results
    assert (single.file, single.half, half.file, half.half) == ("model.onnx", False, "model_float16.onnx", True)
    assert done.report.source.detections > 0
    assert single.matched_share == half.matched_share == 1.0
    for each in (single, half):
        assert set(each.output_errors) == {"boxes", "logits"}
        assert max(each.output_errors.values()) < 0.01
    assert (done.bundle.folder / "parity.json").is_file()


def test_half_precision_in_which_a_network_is_lost_is_refused(scenes: Path, tmp_path: Path) -> None:
    """What lies between its layers is here smaller than half precision can say, so nothing of the picture arrives."""
    with pytest.raises(ParityExceeded, match=r"model_float16\.onnx: 0% of the detections match") as raised:
        converted(nano(), scenes, tmp_path)
    assert raised.value.report.results[0].exceeded == [], "single precision is what PyTorch computes"
    assert not (tmp_path / "made").exists()
