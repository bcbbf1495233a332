"""The mean of a network's weights over its training: it judges better than the weights of any one step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from networks.base import Network


class WeightAverage:
    """Exponential moving average of all floating-point tensors of a network, normalization's included.

    At first, when there is little to average over, it follows quickly.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.steps = 0
        self._decay = decay
        self._mine = _floats(self.network)
        self._theirs = _floats(network)

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the network is now."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)


def _floats(network: Network) -> list[Tensor]:
    """Each once, also those that several layers share."""
    return [tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point()]
