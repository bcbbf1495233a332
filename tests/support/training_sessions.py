"""Trainings in this process: a session whose events can be read, and one of tiny pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from trainer_companion import hyperparameters
from trainer_companion.edge_recipe import EdgeRecipe
from trainer_companion.job import Job
from trainer_companion.network_recipe import NetworkRecipe
from trainer_companion.progress import Done, Event
from trainer_companion.recipes import Session, dataset_for
from trainer_companion.stopping import Stopping
from trainer_companion.team import Team

Some = TypeVar("Some")


@dataclass
class HeardSession(Session):
    """Keeps what it is told; `hook` is called with each event, and may ask to stop, or raise."""

    events: list[Event] = field(default_factory=list)
    hook: Callable[[Event], None] = lambda event: None

    def say(self, event: Event) -> None:
        """See `trainer_companion.recipes.Session.say`."""
        self.events.append(event)
        self.hook(event)

    def heard(self, kind: type[Some]) -> list[Some]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self) -> list[float]:
        """Of each progress that had one."""
        return [event.loss for event in self.events if event.event == "progress" and event.loss is not None]


def session(
    pictures: Path,
    folder: Path,
    *,
    variant: str | None = "edge-residual-128",
    base: Path | None = None,
    minutes: float | None = None,
    seed: int = 0,
    clock: Callable[[], float] | None = None,
    recipe: NetworkRecipe | None = None,
    **turned: Any,
) -> HeardSession:
    """A session on a CPU, alone, for 64-pixel pictures. `recipe`: the edge family's by default. `turned`: hyperparameters."""
    given = {"resolution": 64, "max_batch_size": 6, **turned}
    parsed = hyperparameters.parse((recipe or EdgeRecipe()).hyperparameters, given)
    job = Job(dataset=pictures, variant=variant, base=base, hyperparameters=given, minutes=minutes, seed=seed)
    found = dataset_for(recipe or EdgeRecipe(), pictures, parsed)
    stopping = Stopping(minutes, clock) if clock is not None else Stopping(minutes)
    return HeardSession(job, folder, found, parsed, Team(), torch.device("cpu"), stopping)


def train(of: HeardSession, recipe: NetworkRecipe | None = None) -> Done:
    """A recipe, that of the edge family by default, in this process."""
    torch.set_num_threads(1)
    return (recipe or EdgeRecipe()).train(of)
