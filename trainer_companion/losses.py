"""What the edge family learns by: varifocal loss for scores, GIoU and L1 for boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from networks.edge import EdgeNetwork
from trainer_companion.assignment import assign
from trainer_companion.team import Team

GIOU_WEIGHT = 2.0
L1_WEIGHT = 0.25

NEGATIVE_WEIGHT = 0.75
FOCUS = 2.0
"""Varifocal loss (Zhang et al. 2021): a cell without a box counts by its own wrong score to this power."""


class EdgeLearner(nn.Module):
    """The network and its loss as one module, so that several processes exchange gradients by one wrapper around it.

    `forward(pictures, boxes, classes)` gives the loss, a scalar; its gradient is the mean over all pictures and boxes of
    all processes.
    """

    def __init__(self, network: EdgeNetwork, team: Team) -> None:
        super().__init__()
        self.network = network
        self._team = team
        centres, strides = network.cells()
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("strides", strides, persistent=False)

    def forward(self, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        centres, strides = self.get_buffer("centres"), self.get_buffer("strides")
        distances, logits = self.network.raw(pictures)
        distances, logits = distances.float(), logits.float()
        reach = distances * strides[:, None]
        predicted = torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1)
        scores = logits.sigmoid()
        assignment = assign(scores.detach(), predicted.detach(), centres, strides, boxes, classes)

        learns = assignment.box >= 0
        quality = assignment.quality
        # By how much is learnt everywhere: processes whose pictures are empty must not count their background double.
        normalizer = self._team.mean(quality.sum()).clamp(min=1.0)

        targets = torch.zeros_like(logits)
        row, cell = learns.nonzero(as_tuple=True)
        which = assignment.box[row, cell]
        targets[row, cell, classes[row, which]] = quality[row, cell]
        of_scores = varifocal(logits, targets) / normalizer

        wanted, got, weight = boxes[row, which], predicted[row, cell], quality[row, cell]
        of_boxes = ((1 - giou(got, wanted)) * weight).sum() / normalizer
        stride = strides[cell, None]
        of_sides = (((got - wanted) / stride).abs().mean(1) * weight).sum() / normalizer
        return of_scores + GIOU_WEIGHT * of_boxes + L1_WEIGHT * of_sides


def varifocal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over all scores; `targets` are 0 for the background and the wanted quality elsewhere."""
    wrong = NEGATIVE_WEIGHT * logits.detach().sigmoid().pow(FOCUS)
    weight = torch.where(targets > 0, targets, wrong)
    return functional.binary_cross_entropy_with_logits(logits, targets, weight, reduction="sum")


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalized IoU (Rezatofighi et al. 2019) of xyxy boxes (N, 4), pair by pair: (N,), -1..1."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    areas = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(1)
    union = (areas - overlap).clamp(min=1e-6)
    around = (
        (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=0).prod(1).clamp(min=1e-6)
    )
    return overlap / union - (around - union) / around
