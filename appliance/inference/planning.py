"""Which ways to run a model are tried, in which order, and how far a way falls short of what was wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from appliance.inference.choosing import Ways
from models.bundle import Bundle
from models.errors import ModelFailed
from models.load import cpu_threads
from models.runtimes.base import Choice
from models.undescribed import carried

GIVEN_UP = 3
"""Deaths in a row after which an accelerator is left alone: a picture that kills its workers kills two of them."""


class Chooses(Protocol):
    """What picks the way to run a model; see `appliance.inference.choosing.Chooser`."""

    wanted: str

    async def choose(self, bundle: Bundle) -> Ways: ...


@dataclass(frozen=True)
class Plan:
    """`choices` in the order in which they are tried; `trouble` is why even the first is not what was `wanted`.

    `best` is the way that should run the model; None where that is no question of hardware (a library is missing).
    """

    ways: Ways
    choices: tuple[Choice, ...]
    best: Choice | None
    wanted: str = "auto"
    trouble: str | None = None

    def falls_short(self, choice: Choice) -> bool:
        """Whether the model is run with less than it could be, or otherwise than the settings ask for."""
        return not _matches(choice, self.wanted) or (
            self.best is not None and choice.accelerator != self.best.accelerator
        )

    def after_death(self, current: Choice, deaths: int, present: bool) -> tuple[Choice, ...]:
        """What to try when the worker has died: not its accelerator if that is gone, or has killed a few of them."""
        if current.accelerator == "cpu":
            return _distinct([current, *(choice for choice in self.choices if choice.accelerator == "cpu")])
        others = tuple(choice for choice in self.choices if choice.accelerator != current.accelerator)
        if present and deaths < GIVEN_UP:
            return (current, *others)
        return others or (current,)

    def on_cpu(self) -> tuple[Choice, ...]:
        """Those that need no accelerator."""
        return tuple(choice for choice in self.choices if choice.accelerator == "cpu")


async def make_plan(chooser: Chooses, bundle: Bundle) -> Plan:
    """What the chooser says, and behind a runtime or accelerator that the settings ask for what a CPU could do.

    Raises `ModelFailed` or `BundleError` where there is no way at all.
    """
    wanted = chooser.wanted
    instead = () if wanted == "auto" else tuple(c for c in cpu_choices(bundle) if not _matches(c, wanted))
    try:
        ways = await chooser.choose(bundle)
    except ModelFailed as error:
        if not instead:
            raise
        trouble = f"It cannot be run as {wanted}, which the settings ask for: {error}"
        return Plan(Ways(instead), instead, _accelerated(bundle, wanted), wanted, trouble)
    if ways.lost is not None:
        trouble = f"{ways.lost.accelerator} ran this model before and is gone"
        return Plan(ways, _distinct([*ways.choices, *instead]), ways.lost, wanted, trouble)
    return Plan(ways, _distinct([*ways.choices, *instead]), ways.choices[0], wanted)


def cpu_choices(bundle: Bundle) -> tuple[Choice, ...]:
    """How a CPU can run the bundle, unmeasured: with all the threads that are of use."""
    threads = cpu_threads()[-1]
    return _distinct(
        Choice(runtime, "cpu", threads) for runtime, accelerator in carried(bundle) if accelerator in ("cpu", "any")
    )


def _accelerated(bundle: Bundle, wanted: str) -> Choice | None:
    """The accelerated way that the settings ask for, if the bundle has weights for it."""
    runtime, accelerator, threads, *_ = [*wanted.split("/"), "", ""]
    weights_for = {"tensorrt": "cuda"}.get(accelerator, accelerator)
    if accelerator in ("", "cpu") or not {(runtime, weights_for), (runtime, "any")} & {*carried(bundle)}:
        return None
    return Choice(runtime, accelerator, int(threads or 1))


def _matches(choice: Choice, wanted: str) -> bool:
    wish = () if wanted == "auto" else tuple(wanted.split("/"))
    return choice.parts[: len(wish)] == wish


def _distinct(choices: Iterable[Choice]) -> tuple[Choice, ...]:
    return tuple(dict.fromkeys(choices))
