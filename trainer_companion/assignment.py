"""Which cell of the network learns which box: task-aligned assignment (Feng et al. 2021, TOOD).

A cell that already finds a box well and gives it the right class is the one that should: both are multiplied, and the
best few cells of each box learn it. No gradient passes through here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CELLS_A_BOX = 10
SCORE_POWER = 0.5
IOU_POWER = 4.0
"""How much the class counts beside the place. TOOD has 1 and 6; the place counts less where most boxes are small."""


@dataclass(frozen=True)
class Assignment:
    """`box`: int64 (B, N), index of the box that a cell learns, -1 for none. `quality`: float32 (B, N), the score (0..1)
    that it should give the box's class; 0 where it learns none.
    """

    box: Tensor
    quality: Tensor


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of xyxy boxes (B, M, 4) with (B, N, 4): (B, M, N), 0..1; inverted boxes overlap with nothing."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    overlap = (high - low).clamp_(min=0).prod(-1)
    areas = _area(a)[:, :, None] + _area(b)[:, None]
    return overlap / (areas - overlap).clamp_(min=1e-6)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


@torch.no_grad()
def assign(
    scores: Tensor, predicted: Tensor, centres: Tensor, strides: Tensor, boxes: Tensor, classes: Tensor
) -> Assignment:
    """Decide for every cell of a batch.

    `scores` (B, N, C) 0..1 and `predicted` (B, N, 4) xyxy are what the network says; `centres` (N, 2) and `strides` (N,)
    its cells; `boxes` (B, M, 4) xyxy and `classes` (B, M) (-1: no box) what is there. All in pixels of the input.
    """
    count, cells = boxes.shape[1], len(centres)
    there = classes >= 0
    allowed = _cells_inside(centres, strides, boxes) & there[:, :, None]
    iou = pairwise_iou(boxes, predicted)
    of_class = scores.transpose(1, 2).gather(1, classes.clamp(min=0)[:, :, None].expand(-1, -1, cells))
    alignment = (of_class.pow(SCORE_POWER) * iou.pow(IOU_POWER)).masked_fill(~allowed, -1.0)

    best = alignment.topk(min(CELLS_A_BOX, cells), dim=2)
    chosen = torch.zeros_like(allowed).scatter_(2, best.indices, best.values >= 0)
    # A cell wanted by several boxes goes to the one that it overlaps most.
    wanted = torch.where(chosen, iou, torch.full_like(iou, -1.0))
    overlap, box = wanted.max(dim=1)
    learns = overlap >= 0
    mine = torch.arange(count, device=box.device)[None, :, None] == box[:, None, :]
    chosen &= mine

    kept = alignment.clamp(min=0) * chosen
    best_alignment = kept.amax(2, keepdim=True).clamp(min=1e-9)
    best_iou = (iou * chosen).amax(2, keepdim=True)
    quality = (kept / best_alignment * best_iou).amax(1)
    return Assignment(torch.where(learns, box, torch.full_like(box, -1)), quality)


def _cells_inside(centres: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """Cells whose centre is in the box, and the one nearest to its middle: (B, M, N). A tiny box may contain no centre."""
    from_low = centres - boxes[:, :, None, :2]
    to_high = boxes[:, :, None, 2:] - centres
    inside = torch.cat([from_low, to_high], -1).amin(-1) > 0
    middle = (boxes[:, :, None, :2] + boxes[:, :, None, 2:]) / 2
    distance = (centres - middle).square().sum(-1) + strides  # of equally near ones the finer
    return inside.scatter(2, distance.argmin(2, keepdim=True), True)
