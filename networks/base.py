"""What a network is to the trainer and the converter, and where the families of networks are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from models import plugins
from models.bundle_format import InputSpec

GROUP = "detector_appliance.networks"
"""Entry-point group in which other packages offer families of networks."""

BUILT_IN = {
    "edge": "networks.edge:EdgeFamily",
    "edge_classifier": "networks.classifier:ClassifierFamily",
    "d_fine": "networks.d_fine:DFineFamily",
}
"""Name in `model.json` (`inference.family`) -> where the class is."""


class Network(nn.Module):
    """A detector as it is deployed.

    `forward` takes a batch of pictures, float32 (B, 3, height, width) RGB in 0..1, and returns the outputs that the head
    of that name (`models.heads`) decodes, each with its batch dimension, in the order of `output_names`.
    """

    head: str
    output_names: tuple[str, ...]
    input: InputSpec
    class_count: int

    @property
    def architecture(self) -> dict[str, Any]:
        """What its family builds the same layers from again; JSON."""
        raise NotImplementedError

    @property
    def head_options(self) -> dict[str, Any]:
        """What stands under `head_options` in `model.json`."""
        return {}

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        raise NotImplementedError


class Family(Protocol):
    """Networks of one kind, which differ in numbers only."""

    name: str

    def build(self, architecture: Mapping[str, Any], class_count: int) -> Network:
        """A network with fresh weights. Raises `BundleError` for an architecture that it does not know."""


def family(name: str) -> Family:
    """A new instance of the family called `name`. Raises `BundleError`, or `ModelFailed` where its package is broken."""
    found: Family = plugins.create(GROUP, BUILT_IN, name, needs=("build",))
    return found


def input_spec(width: int, height: int) -> InputSpec:
    """How every network of ours sees pictures: stretched to its size, float32 RGB in 0..1, channels first."""
    return InputSpec(
        width=width, height=height, layout="NCHW", channels="RGB", dtype="float32", scale=1 / 255, offset=0.0
    )
