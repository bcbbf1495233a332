"""The edge family: small one-stage detectors without anchors, for processors of a few watts and for the Edge TPU.

Only convolution, depthwise convolution, addition, ReLU6, sigmoid, reshape and concatenation: all of it can be computed in
int8. A cell of a feature map predicts how far the sides of a box are from its centre, in strides, and one score a class;
there is no background class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from models.errors import BundleError
from networks.base import Network, input_spec

STRIDES = (8, 16)
"""Pixels of the input between two cells, of each feature map that is looked at."""

RARE = 0.01
"""What every score begins as: without it the countless empty cells would drown the few others (Lin et al. 2017, 4.1)."""

TYPICAL_REACH = 2.0
"""What every distance begins as, in strides."""

_INVERTED_RESIDUALS = (
    # expansion, channels, blocks, stride of the first: table 2 of Sandler et al. 2018, as far as stride 16
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
)


class EdgeArchitecture(BaseModel):
    """What tells one edge network from another.

    `backbone`: `residual`, plain 3x3 convolutions with shortcuts, or `mobilenet_v2`. `width`: channels relative to the
    backbone's usual ones (residual: 16, 32, 64, 128). `blocks`: residual blocks a stage. `input_width`, `input_height`:
    pixels, multiples of 16.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: Literal["residual", "mobilenet_v2"] = "residual"
    width: float = Field(default=1.0, ge=0.25, le=4.0)
    blocks: int = Field(default=1, ge=1, le=4)
    input_width: int = Field(default=128, ge=64, le=1280)
    input_height: int = Field(default=128, ge=64, le=1280)

    @model_validator(mode="after")
    def _cells_fill_the_picture(self) -> EdgeArchitecture:
        if self.input_width % STRIDES[-1] or self.input_height % STRIDES[-1]:
            raise ValueError(f"width and height of the input must be multiples of {STRIDES[-1]} pixels")
        return self


class EdgeFamily:
    """See `networks.base.Family`."""

    name = "edge"

    def build(self, architecture: Mapping[str, Any], class_count: int) -> EdgeNetwork:
        """See `networks.base.Family.build`."""
        return EdgeNetwork(checked(architecture), class_count)


def checked(architecture: Mapping[str, Any]) -> EdgeArchitecture:
    """What `model.json` says of a network with one of the backbones here. Raises `BundleError`."""
    try:
        return EdgeArchitecture.model_validate(dict(architecture))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "architecture"
        raise BundleError(f"the edge family cannot build this network: {where}: {first['msg']}") from error


class EdgeNetwork(Network):
    """`distances` (B, N, 4): left, top, right, bottom in strides; `scores` (B, N, C), 0..1. Cells row by row, the finer map
    first.
    """

    head = "anchor_free"
    output_names = ("distances", "scores")

    def __init__(self, architecture: EdgeArchitecture, class_count: int) -> None:
        super().__init__()
        if class_count < 1:
            raise BundleError("a detector needs at least one category")
        self._architecture = architecture
        self.class_count = class_count
        self.input = input_spec(architecture.input_width, architecture.input_height)
        self.backbone = backbone_of(architecture)
        channels = self.backbone.channels
        self.heads = nn.ModuleList(LevelHead(each, channels[0], class_count) for each in channels)

    @property
    def architecture(self) -> dict[str, Any]:
        return self._architecture.model_dump(mode="json")

    @property
    def head_options(self) -> dict[str, Any]:
        return {"strides": list(STRIDES)}

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        distances, logits = self.raw(pictures)
        return distances, torch.sigmoid(logits)

    def raw(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Like `forward`, but with logits in place of scores: what losses want."""
        levels = [head(features) for head, features in zip(self.heads, self.backbone(pictures), strict=True)]
        return torch.cat([level[0] for level in levels], 1), torch.cat([level[1] for level in levels], 1)

    def cells(self) -> tuple[Tensor, Tensor]:
        """Centre of each cell (N, 2), x and y in pixels of the input, and its stride (N,)."""
        centres, strides = [], []
        for stride in STRIDES:
            rows, columns = self.input.height // stride, self.input.width // stride
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            centres.append((torch.stack([x.reshape(-1), y.reshape(-1)], 1) + 0.5) * stride)
            strides.append(torch.full((rows * columns,), float(stride)))
        return torch.cat(centres), torch.cat(strides)


def convolution(into: int, out: int, size: int = 3, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Module:
    """A convolution that keeps the size, or divides it by `stride`, with normalization, and ReLU6 where `relu` says so."""
    layers: list[nn.Module] = [
        nn.Conv2d(into, out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]
    return nn.Sequential(*layers, nn.ReLU6()) if relu else nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(into, out, stride=stride)
        self.second = convolution(out, out, relu=False)
        self.shortcut = nn.Identity() if stride == 1 and into == out else convolution(into, out, 1, stride, relu=False)
        self.relu = nn.ReLU6()

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.relu(self.second(self.first(features)) + self.shortcut(features))
        return added


class ResidualBackbone(nn.Module):
    """Four stages, each halving the picture; features with strides 8 and 16."""

    def __init__(self, width: float, blocks: int) -> None:
        super().__init__()
        stem, second, third, fourth = (_eights(channels * width) for channels in (16, 32, 64, 128))
        self.stem = convolution(3, stem, stride=2)
        self.to_4 = _stage(stem, second, blocks)
        self.to_8 = _stage(second, third, blocks)
        self.to_16 = _stage(third, fourth, blocks)
        self.channels = (third, fourth)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        eighth = self.to_8(self.to_4(self.stem(pictures)))
        return eighth, self.to_16(eighth)


def _stage(into: int, out: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(into, out, 2), *(ResidualBlock(out, out, 1) for _ in range(blocks - 1)))


class InvertedResidual(nn.Module):
    """Widen by 1x1, look by depthwise 3x3, narrow by 1x1 (Sandler et al. 2018)."""

    def __init__(self, into: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = into * expansion
        layers = [] if expansion == 1 else [convolution(into, hidden, 1)]
        layers += [convolution(hidden, hidden, stride=stride, groups=hidden), convolution(hidden, out, 1, relu=False)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and into == out

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.layers(features)
        return features + made if self.adds else made


class MobileNetV2Backbone(nn.Module):
    """MobileNetV2 as far as stride 16; features with strides 8 and 16."""

    def __init__(self, width: float) -> None:
        super().__init__()
        channels = _eights(32 * width)
        self.stem = convolution(3, channels, stride=2)
        stages: list[nn.Module] = []
        taps: list[int] = []
        for expansion, usual, blocks, stride in _INVERTED_RESIDUALS:
            out = _eights(usual * width)
            blocks_of_stage = []
            for number in range(blocks):
                blocks_of_stage.append(InvertedResidual(channels, out, stride if number == 0 else 1, expansion))
                channels = out
            stages.append(nn.Sequential(*blocks_of_stage))
            taps.append(out)
        self.to_8 = nn.Sequential(*stages[:3])
        self.to_16 = nn.Sequential(*stages[3:])
        self.channels = (taps[2], taps[4])

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        eighth = self.to_8(self.stem(pictures))
        return eighth, self.to_16(eighth)


def backbone_of(architecture: EdgeArchitecture) -> ResidualBackbone | MobileNetV2Backbone:
    """A new one, which gives features with strides 8 and 16; `channels` says how many each."""
    if architecture.backbone == "residual":
        return ResidualBackbone(architecture.width, architecture.blocks)
    return MobileNetV2Backbone(architecture.width)


class LevelHead(nn.Module):
    """What the cells of one feature map say: distances (B, cells, 4) and logits (B, cells, C)."""

    def __init__(self, channels: int, hidden: int, class_count: int) -> None:
        super().__init__()
        self.look = convolution(channels, hidden)
        self.distances = nn.Conv2d(hidden, 4, 1)
        self.logits = nn.Conv2d(hidden, class_count, 1)
        nn.init.normal_(self.distances.weight, std=0.01)
        nn.init.constant_(_bias(self.distances), TYPICAL_REACH)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.constant_(_bias(self.logits), -math.log((1 - RARE) / RARE))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.look(features)
        return _rows(self.distances(seen)), _rows(self.logits(seen))


def _rows(grid: Tensor) -> Tensor:
    """(B, F, rows, columns) -> (B, cells, F). Four dimensions until the end: that needs no transposition in LiteRT."""
    return grid.permute(0, 2, 3, 1).reshape(grid.shape[0], -1, grid.shape[1])


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _eights(channels: float) -> int:
    """The next multiple of eight: what vector units and the Edge TPU compute at once."""
    return max(8, int(channels + 4) // 8 * 8)
