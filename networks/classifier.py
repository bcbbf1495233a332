"""Small networks that say what a picture as a whole shows: the edge family's backbones, and one class of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import BundleError
from networks.base import Network, input_spec
from networks.edge import EdgeArchitecture, backbone_of, checked, convolution


class ClassifierFamily:
    """See `networks.base.Family`. Its architectures are those of the edge family (`networks.edge.EdgeArchitecture`)."""

    name = "edge_classifier"

    def build(self, architecture: Mapping[str, Any], class_count: int) -> ClassifierNetwork:
        """See `networks.base.Family.build`."""
        return ClassifierNetwork(checked(architecture), class_count)


class ClassifierNetwork(Network):
    """`scores` (B, C), 0..1, of each picture's classes, which add up to 1.

    Beside what the edge family computes with: the mean over a map, a matrix product and softmax, all of it possible in int8.
    """

    head = "classification"
    output_names = ("scores",)

    def __init__(self, architecture: EdgeArchitecture, class_count: int) -> None:
        super().__init__()
        if class_count < 1:
            raise BundleError("a classifier needs at least one category")
        self._architecture = architecture
        self.class_count = class_count
        self.input = input_spec(architecture.input_width, architecture.input_height)
        self.backbone = backbone_of(architecture)
        channels = self.backbone.channels[-1]
        # A cell of the backbone's last map sees about 90 pixels: one more convolution, to see how parts belong together.
        self.look = convolution(channels, 2 * channels, stride=2)
        self.logits = nn.Linear(2 * channels, class_count)

    @property
    def architecture(self) -> dict[str, Any]:
        return self._architecture.model_dump(mode="json")

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        return (torch.softmax(self.raw(pictures), 1),)

    def raw(self, pictures: Tensor) -> Tensor:
        """Like `forward`, but with logits in place of scores, (B, C): what losses want."""
        _, features = self.backbone(pictures)
        logits: Tensor = self.logits(self.look(features).mean((2, 3)))
        return logits
