"""The networks of the edge family that a person can choose from."""

from __future__ import annotations

from typing import Any, NamedTuple

from models.wire.training import PretrainedModel


class EdgeVariant(NamedTuple):
    """`architecture`: see `networks.edge.EdgeArchitecture`; the size of the input comes from `resolution` (pixels)."""

    name: str
    label: str
    description: str
    architecture: dict[str, Any]
    resolution: int

    @property
    def offered(self) -> PretrainedModel:
        """How the Loop sees it."""
        return PretrainedModel(name=self.name, label=self.label, description=self.description)


EDGE_VARIANTS = (
    EdgeVariant(
        "edge-residual-128",
        "Edge, tiny (128 px)",
        "Plain residual network, 0.3 million weights: large things in small pictures, trained within minutes on a CPU.",
        {"backbone": "residual", "width": 1.0, "blocks": 1},
        128,
    ),
    EdgeVariant(
        "edge-residual-320",
        "Edge, small (320 px)",
        "Plain residual network, 0.6 million weights: for a Raspberry Pi without accelerator.",
        {"backbone": "residual", "width": 1.0, "blocks": 2},
        320,
    ),
    EdgeVariant(
        "edge-residual-512",
        "Edge, medium (512 px)",
        "Plain residual network, 2.4 million weights: for a Coral or a faster computer, and for smaller things.",
        {"backbone": "residual", "width": 2.0, "blocks": 2},
        512,
    ),
    EdgeVariant(
        "edge-mobilenet-320",
        "Edge MobileNetV2 0.5 (320 px)",
        "MobileNetV2 at half its width: fewest operations a picture; learns more slowly than the residual networks.",
        {"backbone": "mobilenet_v2", "width": 0.5},
        320,
    ),
    EdgeVariant(
        "edge-mobilenet-512",
        "Edge MobileNetV2 1.0 (512 px)",
        "MobileNetV2 at its full width: for a Coral, with many pictures to learn from.",
        {"backbone": "mobilenet_v2", "width": 1.0},
        512,
    ),
)

DEFAULT = "edge-residual-320"
