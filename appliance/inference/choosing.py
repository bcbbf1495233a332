"""Which way to run a model on this box: measured, and remembered by bundle and machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.inference.remembering import Conditions, Memory
from appliance.inference.trials import try_ways
from models import runtimes
from models.bundle import Bundle
from models.detector import mapped
from models.errors import DetectorApplianceError, ModelFailed
from models.fastest import Measured, machine, ranked
from models.files import FileSystem
from models.runtimes.base import Choice
from models.undescribed import carried
from models.uninterrupted import in_thread

log = logging.getLogger(__name__)

ACCELERATORS = {"any": ("cuda", "tensorrt"), "cuda": ("cuda", "tensorrt"), "edgetpu": ("edgetpu",), "cpu": ()}
"""What weights say they are for -> the hardware that can run them, beside a CPU."""


Measure = Callable[[Bundle, Path, str, float], Awaitable[list[Measured]]]
"""Bundle, cache folder, what is wanted, seconds for each way -> what came of each; see `try_ways`."""


@dataclass(frozen=True)
class Ways:
    """The ways to run one model here, fastest first, and why others are out of question (`measured` holds all)."""

    choices: tuple[Choice, ...]
    measured: tuple[Measured, ...] = ()
    lost: Choice | None = None
    """An accelerated way that was the fastest before, and whose accelerator is not there now."""


@dataclass
class Chooser:
    """Measures and remembers. `wanted` is the setting `runtime`: `auto`, or the beginning of a choice.

    `deadline`: seconds that trying one way may take.
    """

    cache: Path
    wanted: str
    files: FileSystem = field(default_factory=FileSystem)
    deadline: float = 120.0
    measure: Measure = try_ways

    async def choose(self, bundle: Bundle) -> Ways:
        """Raises `ModelFailed` or `BundleError` if there is no way to run the bundle here."""
        if (only := self._only_way(bundle)) is not None:
            return Ways((only,))
        memory = Memory(self.cache / "runtimes.json", self.files)
        conditions = await asyncio.to_thread(self._conditions, bundle)
        measured = await asyncio.to_thread(memory.recall, conditions)
        if measured is None:
            measured = await self.measure(bundle, self.cache, self.wanted, self.deadline)
            log.info("measured %s", ", ".join(_in_words(way) for way in measured))
            if ranked(measured):  # what fails today, for want of memory perhaps, may work tomorrow
                await in_thread(memory.remember, conditions, measured)
        best = ranked(measured)
        if not best:
            reasons = "; ".join(f"{way.choice}: {way.reason}" for way in measured)
            raise ModelFailed(f"This box can run the model in no way. {reasons}")
        lost = await asyncio.to_thread(memory.lost, conditions)
        return Ways(tuple(way.choice for way in best), tuple(measured), lost)

    def _only_way(self, bundle: Bundle) -> Choice | None:
        """What is wanted, if that is said to the last detail: there is nothing to measure then."""
        if self.wanted.count("/") < 2:
            return None
        choice = Choice.parse(self.wanted)
        return choice if [runtime for runtime, _ in carried(bundle)].count(choice.runtime) == 1 else None

    def _conditions(self, bundle: Bundle) -> Conditions:
        """What the measured times depend on. Blocks: hardware is looked for."""
        accelerators: set[str] = set()
        versions: set[str] = set()
        for name, weights_for in carried(bundle):
            try:
                with mapped(ModelFailed, f"The runtime {name} cannot say what it finds on this box"):
                    runtime = runtimes.runtime(name)
                    versions.add(runtime.version())
                    accelerators |= {f"{name}/{each}" for each in ACCELERATORS[weights_for] if runtime.present(each)}
            except DetectorApplianceError as error:  # then its ways will fail, and others may work
                log.warning("%s", error)
        return Conditions(
            bundle.fingerprint, machine(), self.wanted, tuple(sorted(versions)), tuple(sorted(accelerators))
        )


def _in_words(way: Measured) -> str:
    return f"{way.choice} {way.milliseconds:.1f} ms" if way.milliseconds is not None else f"{way.choice}: {way.reason}"
