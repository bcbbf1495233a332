"""The processes that train one model together, and how they come to the same decisions.

Every process computes the same steps on other pictures; one that decided alone to stop would leave the others waiting
for ever. So whatever depends on a clock, a signal or a graphics card is agreed on first.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Some = TypeVar("Some")

TIMEOUT = datetime.timedelta(minutes=30)
"""How long one process waits for another: the first may be decoding a hundred thousand pictures."""


class Team:
    """This process among `size`; `rank` 0 speaks for all. Alone, everything here returns at once."""

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size

    @property
    def leads(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all have come here."""
        if self.size > 1:
            dist.barrier()

    def gather(self, mine: Some) -> list[Some]:
        """What each process has, by rank."""
        if self.size == 1:
            return [mine]
        everybodys: list[Any] = [None] * self.size
        dist.all_gather_object(everybodys, mine)
        return everybodys

    def share(self, mine: Some) -> Some:
        """What rank 0 has."""
        if self.size == 1:
            return mine
        box = [mine]
        dist.broadcast_object_list(box)
        return box[0]

    def least(self, mine: int) -> int:
        """The smallest number of all."""
        return min(self.gather(mine))

    def most(self, mine: Tensor) -> Tensor:
        """The largest of all, element by element, in place."""
        if self.size > 1:
            dist.all_reduce(mine, dist.ReduceOp.MAX)
        return mine

    def mean(self, mine: Tensor) -> Tensor:
        """The mean of all, element by element, in place."""
        if self.size > 1:
            dist.all_reduce(mine)
            mine /= self.size
        return mine


@contextmanager
def joined(device: str) -> Iterator[tuple[Team, torch.device]]:
    """The team that torchrun's variables describe, and the device of this process.

    `device`: `auto`, `cpu` or `cuda`. gloo on CPUs, nccl on graphics cards.
    """
    on_card = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    here = torch.device("cuda", local_rank) if on_card else torch.device("cpu")
    if on_card:
        torch.cuda.set_device(here)
    if size == 1:
        yield Team(), here
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_card else "gloo", timeout=TIMEOUT)
    try:
        yield Team(dist.get_rank(), size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))), here
    finally:
        dist.destroy_process_group()
