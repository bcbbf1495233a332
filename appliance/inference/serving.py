"""What the supervisor is held to, what it counts, and how a model in service fares."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.inference.choosing import Ways
from appliance.inference.planning import Plan
from models.bundle import Bundle
from models.runtimes.base import Choice

LOOK_AGAIN = 10.0
"""Seconds between two looks for a lost accelerator."""


@dataclass(frozen=True)
class InferenceLimits:
    """What the supervisor is held to. Seconds, bytes, pixels; `floor` is the lowest confidence anybody wants to see."""

    queue_depth: int = 32
    inference_deadline: float = 10.0
    load_deadline: float = 120.0
    max_image_bytes: int = 64 * 2**20
    max_image_pixels: int = 100_000_000
    floor: float = 0.3
    exclusive: bool = False


@dataclass(frozen=True)
class Counters:
    """What happened since the start."""

    restarts: int = 0
    hangs: int = 0
    retries: int = 0
    refused_full: int = 0
    refused_old: int = 0
    swaps: int = 0


@dataclass
class Serving:
    """A model in service (or about to be): how it is run, and how it fares.

    `start_seconds`: what loading and checking took. `shortfall`: why it is run with less than was wanted, if it is.
    `deaths` and `failed_starts` are those in a row, `answers` those of its present worker, `falls` how often an
    accelerator came back and was lost again.
    """

    bundle: Bundle
    plan: Plan
    choice: Choice
    start_seconds: float
    shortfall: str | None = None
    deaths: int = 0
    failed_starts: int = 0
    answers: int = 0
    falls: int = 0
    unfit: bool = False

    @property
    def ways(self) -> Ways:
        """How the model can be run on this box, as measured."""
        return self.plan.ways

    @property
    def degraded(self) -> str | None:
        """For people: why the model is run with less than was wanted, and how it is run; None if all is well."""
        return f"{self.shortfall.rstrip('.')}. Detecting as {self.choice}." if self.shortfall is not None else None


def pause_before(attempt: int) -> float:
    """Seconds before the next worker is started: none for the first three deaths in a row, then doubling up to 30."""
    return 0.0 if attempt <= 3 else min(2.0 ** (attempt - 4), 30.0)


def pause_before_looking(vain: int) -> float:
    """Seconds before the next look for an accelerator that was there, but failed `vain` times: doubling up to 640."""
    return LOOK_AGAIN * 2.0 ** min(vain, 6)
