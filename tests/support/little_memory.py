"""The training process on a machine of which one graphics card is small: `trainer_companion.training` in every other respect.

The last process of a team runs out of memory, as PyTorch says it, with more than `ROOM` pictures a step.
"""

from __future__ import annotations

import os
import sys

import torch
from torch import Tensor

from trainer_companion import training
from trainer_companion.losses import EdgeLearner

ROOM = 3

forward = EdgeLearner.forward


def small(self: EdgeLearner, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
    if os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1) and len(pictures) > ROOM:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
    return forward(self, pictures, boxes, classes)


if __name__ == "__main__":
    EdgeLearner.forward = small  # type: ignore[method-assign]
    sys.exit(training.main())
