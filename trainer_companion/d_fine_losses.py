"""What D-FINE learns by: the loss of its authors, shared fairly between processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from networks.d_fine import DFineNetwork
from trainer_companion.team import Team


class DFineLearner(nn.Module):
    """The network and its loss as one module; see `trainer_companion.losses.EdgeLearner`.

    Matching by the Hungarian algorithm, varifocal loss for scores, L1, GIoU and the distributions of the sides for boxes,
    in each layer of the decoder, and again for queries that began as noise around what is there.
    """

    def __init__(self, network: DFineNetwork, team: Team) -> None:
        super().__init__()
        self.network = network
        self._team = team
        spec = network.input
        self.register_buffer("size", torch.tensor([spec.width, spec.height] * 2, dtype=torch.float32), persistent=False)

    def forward(self, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """The loss, a scalar; not a number where the network's outputs are none."""
        middle, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        shares = torch.cat([middle, sides], -1) / self.get_buffer("size")
        things = [(shares[row, kinds >= 0], kinds[kinds >= 0]) for row, kinds in enumerate(classes)]
        mine = (classes >= 0).sum().float()
        all_of_us = self._team.mean(mine.clone()).clamp(min=1.0)  # asked whatever follows: the others ask, too
        try:
            loss = self.network.loss(pictures, things)
        except ValueError:
            if self._is_sound(pictures):
                raise
            # Matching refuses what is no number. A gradient for every weight all the same: other processes wait for it.
            return (
                torch.stack([each.sum() for each in self.network.parameters() if each.requires_grad]).sum() * torch.nan
            )
        # It is a mean over the things of this process; what counts is the mean over those of all.
        return loss * mine.clamp(min=1.0) / all_of_us

    @torch.no_grad()
    def _is_sound(self, pictures: Tensor) -> bool:
        return all(bool(torch.isfinite(output).all()) for output in self.network(pictures))
