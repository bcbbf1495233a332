"""Reads for people how a trainer is, once a second while somebody looks, and passes on what they tell it to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from companions import condition
from companions.condition import Condition
from models.bundle import read_document
from models.errors import BundleError
from trainer_companion import samples, view
from trainer_companion.node import Trainer
from trainer_companion.progress import Best
from trainer_companion.run_state import Run
from trainer_companion.samples import Samples
from trainer_companion.view import Shown, View
from trainer_companion.walking import Walk
from ui.kit.colours import palette
from ui.kit.feed import Feed
from ui.kit.marks import Mark

EVERY_S = 1.0
PICTURES = "/pictures/samples"


@dataclass(frozen=True)
class _Sight:
    """What the best model of a training sees, and how its categories are called and coloured."""

    run_id: str
    epoch: int
    samples: Samples | None
    names: Mapping[str, str]
    colours: Mapping[str, str]


class Watching:
    """See `trainer_companion.page.Watched`."""

    def __init__(self, trainer: Trainer) -> None:
        self.name = trainer.settings.node_name
        self.feed: Feed[View] = Feed("trainer", self._read, EVERY_S)
        self._trainer = trainer
        self._sight: _Sight | None = None

    async def stop(self) -> None:
        """As the event `stop_training`. Raises `StorageRefused`."""
        await self._trainer.stop()
        self.feed.poke()

    async def abort(self) -> None:
        """As the event `abort_training`."""
        await self._trainer.abort()
        self.feed.poke()

    async def picture(self, run_id: str, number: int) -> bytes | None:
        """A sample as a JPEG for the page; None where there is none."""
        walk = self._walk()
        if walk is None or walk.run.id != run_id:
            return None
        found = await asyncio.to_thread(samples.read, self._trainer.folders.job(walk.run))
        if found is None or not 0 <= number < len(found.pictures):
            return None
        return await asyncio.to_thread(samples.small, self._trainer.folders.images(walk.run), found.pictures[number])

    def _walk(self) -> Walk | None:
        """The training that is shown: the one under way, else the last one."""
        return self._trainer.walk or self._trainer.ended

    async def _read(self) -> View:
        trainer = self._trainer
        holder = None if trainer.walk is not None else await asyncio.to_thread(trainer.slot.holder)
        walk = self._walk()
        sight = None if walk is None else await self._look(walk.run)
        # From here on nothing is waited for, so that all of it is of one moment.
        walk, run = self._walk(), trainer.run
        if sight is not None and (walk is None or walk.run.id != sight.run_id):
            sight = None
        state = trainer.state if run is not None else "idle" if holder is None else "blocked"
        failing = {} if trainer.walk is None else trainer.walk.errors
        final = run.errors if run is not None else {} if trainer.last is None else trainer.last.errors
        does = "" if run is None else view.doing(run, state, failing)
        share = trainer.progress
        is_condition = Condition(
            view.sentence(run, trainer.last, state, does, share, holder or ""),
            view.troubles(failing, final, active=run is not None) + condition.of_connection(trainer.connection),
        )
        if walk is None:
            return View(is_condition)
        watched, best = walk.watched, walk.run.best
        running = state == "running"
        return View(
            is_condition,
            name=walk.run.name,
            step=None if run is None else view.step_of(run),
            doing=does,
            share=share,
            left=view.left(watched.progress.seconds_left) if running and watched.progress is not None else "",
            can_stop=running and not walk.run.stopping,
            can_abort=run is not None,
            curve=view.curve(watched.curve.points),
            numbers=view.numbers(walk.run, watched, trainer.settings.vram_limit_gb),
            rows=() if best is None else view.rows(best.confusion_matrix, {} if sight is None else sight.names),
            pictures=() if sight is None else _shown(walk.run, sight),
            sight="" if sight is None or sight.samples is None else f"epoch {sight.samples.epoch}",
            warnings=tuple(watched.warnings)[-view.WARNINGS :],
            lines=tuple(watched.words)[-view.LINES :],
        )

    async def _look(self, run: Run) -> _Sight | None:
        """What lies on the disk beside the best model; read once for each best model."""
        if run.best is None or run.aborted:
            return None
        if self._sight is None or (self._sight.run_id, self._sight.epoch) != (run.id, run.best.epoch):
            folder = self._trainer.folders.job(run)
            self._sight = await asyncio.to_thread(_read_sight, folder, run.id, run.best)
        return self._sight


def _read_sight(job: Path, run_id: str, best: Best) -> _Sight:
    """Blocks."""
    names: dict[str, str] = {}
    colours: dict[str, str | None] = {}
    try:
        said = read_document(Path(best.bundle)).get("categories")
    except BundleError:  # a newer one has taken its place, or it is no bundle; there are no names then
        said = None
    for category in said if isinstance(said, list) else []:
        if isinstance(category, dict):
            name = str(category.get("name", ""))
            names[str(category.get("id", name))] = name
            colour = category.get("color")
            colours[name] = colour if isinstance(colour, str) else None
    return _Sight(run_id, best.epoch, samples.read(job), names, palette(colours))


def _shown(run: Run, sight: _Sight) -> tuple[Shown, ...]:
    if sight.samples is None:
        return ()
    return tuple(
        Shown(
            f"{PICTURES}/{run.id}/{number}",
            sample.width,
            sample.height,
            tuple(
                Mark(each.category, each.confidence, box=each.box, colour=sight.colours.get(each.category))
                for each in sample.found
            ),
            sample.things,
            sample.said,
        )
        for number, sample in enumerate(sight.samples.pictures)
    )
