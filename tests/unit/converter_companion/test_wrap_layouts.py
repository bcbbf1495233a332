"""Foreign ONNX detectors, in the layouts in which YOLO, DETR and SSD leave a network, become bundles that see what is there.

One network that knows coloured squares is written in all of them: what it sees is known, so a layout that is read wrongly
shows.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from converter_companion.cli import main
from models.bundle import Bundle, open_bundle, unpack

Make = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
"""Boxes (1, N, 4) cx, cy, w, h in pixels, and scores (1, N, C) -> outputs."""

SIZE = 64
STRIDES = (8, 16)


def anchors() -> list[list[float]]:
    """y centre, x centre, height, width of what an SSD would have at the cells of the network, as shares."""
    return [
        [(row + 0.5) * stride / SIZE, (column + 0.5) * stride / SIZE, 0.3, 0.3]
        for stride in STRIDES
        for row in range(SIZE // stride)
        for column in range(SIZE // stride)
    ]


def as_yolo_v8(boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
    # The third grid, of stride 32, sees nothing.
    rows = torch.nn.functional.pad(torch.cat([boxes, scores], 2), (0, 0, 0, 4))
    return (rows.permute(0, 2, 1),)


def as_yolo_v5(boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
    objectness = scores.amax(2, keepdim=True)
    rows = torch.cat([boxes, objectness, scores / objectness.clamp(min=1e-6)], 2)
    return (torch.nn.functional.pad(rows, (0, 0, 0, 3 * 84 - rows.shape[1])),)


def as_detr(boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return boxes / SIZE, torch.logit(scores, eps=1e-6)


def as_ssd(boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
    there = torch.tensor(anchors())[None]
    shares = boxes[..., [1, 0, 3, 2]] / SIZE
    places = (shares[..., :2] - there[..., :2]) / there[..., 2:] * 10
    sizes = torch.log(shares[..., 2:].clamp(min=1e-4) / there[..., 2:]) * 5
    return torch.cat([places, sizes], 2), torch.cat([1 - scores.amax(2, keepdim=True), scores], 2)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.shapes_network import COLOURS

    path = tmp_path_factory.mktemp("labels") / "colours.txt"
    path.write_text("\n".join(COLOURS) + "\n")
    return path


def foreign(shapes: Bundle, make: Make, names: Sequence[str], path: Path) -> Path:
    """The network as somebody else would have exported it."""
    from networks import bundles
    from networks.edge import EdgeNetwork

    class Foreign(torch.nn.Module):
        def __init__(self, network: EdgeNetwork) -> None:
            super().__init__()
            self.network = network
            centres, strides = network.cells()
            self.register_buffer("centres", centres)
            self.register_buffer("strides", strides[:, None])

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
            distances, scores = self.network(pictures)
            reach = distances.clamp(min=0) * self.strides
            low, high = self.centres - reach[..., :2], self.centres + reach[..., 2:]
            return make(torch.cat([(low + high) / 2, high - low], 2), scores)

    network = bundles.read(shapes)
    assert isinstance(network, EdgeNetwork)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Foreign(network).eval(),
            (torch.zeros(1, 3, SIZE, SIZE),),
            input_names=["images"],
            output_names=list(names),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)
    return path


LAYOUTS = [
    pytest.param(as_yolo_v8, ["output0"], [], "yolo", id="YOLOv8"),
    pytest.param(as_yolo_v5, ["output0"], [], "yolo", id="YOLOv5"),
    pytest.param(as_detr, ["pred_boxes", "logits"], [], "detr", id="DETR"),
    pytest.param(
        as_ssd,
        ["encodings", "classes"],
        [
            *("--head", "ssd_raw", "--output", "boxes=0", "--output", "scores=1"),
            *(
                "--option",
                "activation=none",
                "--option",
                "background=true",
                "--option",
                f"anchors={json.dumps(anchors())}",
            ),
        ],
        "ssd_raw",
        id="SSD",
    ),
]


@pytest.mark.parametrize(("make", "names", "wishes", "head"), LAYOUTS)
def test_what_a_foreign_network_sees_in_a_picture_is_there(
    make: Make,
    names: list[str],
    wishes: list[str],
    head: str,
    shapes: Bundle,
    scenes: Path,
    labels: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = foreign(shapes, make, names, tmp_path / "foreign.onnx")
    picture, drawn = one_picture(scenes)
    arguments = ["wrap", str(model), "--labels", str(labels), "--picture", str(picture), "--threshold", "0.4", *wishes]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f"Head {head} " in said
    lines = said.split("it sees:\n")[1].splitlines()
    found = [re.match(r" *([0-9.]+)  (\w+)  at (\d+), (\d+), (\d+) x (\d+) pixels", line) for line in lines]
    sure = [match for match in found if match and float(match[1]) >= 0.4]
    assert {match[2] for match in sure} == {name for name, _ in drawn}
    for match in sure:
        box = [int(match[group]) for group in range(3, 7)]
        assert any(
            name == match[2] and all(abs(one - other) <= 6 for one, other in zip(box, there, strict=True))
            for name, there in drawn
        ), f"{match[0]} is not among {drawn}"
    unpack(tmp_path / "foreign.zip", tmp_path / "bundle")
    assert open_bundle(tmp_path / "bundle").model.score_threshold == 0.4


def one_picture(scenes: Path) -> tuple[Path, list[tuple[str, list[float]]]]:
    """The picture with the most squares, and these: colour and x, y, width, height."""
    document = json.loads((scenes / "annotations.json").read_text())
    colours = {each["id"]: each["name"] for each in document["categories"]}

    def drawn(image: int) -> list[tuple[str, list[float]]]:
        return [
            (colours[each["category_id"]], each["bbox"])
            for each in document["annotations"]
            if each["image_id"] == image
        ]

    most = max(document["images"], key=lambda image: len(drawn(image["id"])))
    return scenes / "images" / most["file_name"], drawn(most["id"])


def test_colours_in_the_wrong_order_show_in_the_picture(
    shapes: Bundle, scenes: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = foreign(shapes, as_yolo_v8, ["output0"], tmp_path / "foreign.onnx")
    picture, drawn = one_picture(scenes)
    arguments = ["wrap", str(model), "--labels", str(labels), "--picture", str(picture), "--channels", "BGR"]
    assert main(arguments) == 0
    seen = capsys.readouterr().out.split("it sees:\n")[1]
    sure = {line.split()[1] for line in seen.splitlines() if line[:6].strip()[:1] == "0" and float(line[:6]) >= 0.4}
    assert sure != {name for name, _ in drawn}
