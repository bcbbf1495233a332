"""The training itself: a child process, watched, whose words become what people and the Loop see."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from models.bundle import MODEL_JSON
from models.uninterrupted import in_thread
from trainer_companion import job as jobs
from trainer_companion import progress
from trainer_companion.children import Child, ChildFailed
from trainer_companion.learning_curve import LearningCurve
from trainer_companion.loop_dataset import COMPUTE_VALIDATION_SET
from trainer_companion.preparing import is_uuid
from trainer_companion.progress import Best, Done, Failed, Progress, Started, Warned
from trainer_companion.stages import HopelessError
from trainer_companion.workplace import Workplace

log = logging.getLogger(__name__)

STOP_WITHIN_S = 300.0
"""A training that was stopped has so long to keep its best model in peace; then it is ended."""

Command = Callable[[Path, int], Sequence[str]]


@dataclass
class Watched:
    """What the process has said, for people."""

    started: Started | None = None
    progress: Progress | None = None
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    curve: LearningCurve = field(default_factory=LearningCurve)
    words: deque[str] = field(default_factory=deque)


class Running:
    """The stage in which the process runs. `found` is called after each new best model."""

    def __init__(
        self, work: Workplace, watched: Watched, found: Callable[[], Awaitable[None]], command: Command = jobs.command
    ) -> None:
        self._work = work
        self._watched = watched
        self._found = found
        self._command = command
        self._child = Child(work.folders.job(work.run), work.files)
        self._done: Done | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._child.is_running

    async def run(self) -> None:
        """Train to the end, or on to it. Raises `HopelessError`, and `ChildFailed` where another try may help.

        A training that has found a model never ends without it: what went wrong then stays beside it as an error.
        """
        run = self._work.run
        if run.stopping and self._has_model():  # it was on its way to the end when this program was killed
            return
        folder = await self._work.make_folder(self._work.folders.job(run))
        await in_thread(jobs.write, folder, self._job(), self._work.files)
        self._watched.words = self._child.words
        try:
            await self._child.start(self._command(folder, self._processes()), jobs.environment())
            failed = await self._listen()
        except ChildFailed as error:
            if not run.stopping:
                raise
            log.warning("%s: %s", run.name, error)
            failed = None
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            await self._child.end()
        if self._done is not None:
            await self._settle(self._done)
            return
        sentence = failed.message if failed is not None else self._child.verdict() or "the process ended without a word"
        if not run.stopping and (failed is None or failed.again or failed.later):
            raise ChildFailed(sentence)
        if not self._has_model():
            raise HopelessError(
                f"the training was stopped before it had found a model: {sentence}" if run.stopping else sentence
            )
        if not run.stopping:
            run.errors["run_training"] = f"{sentence} What had been learnt by then is kept."

    async def stop(self) -> None:
        """End soon, with what has been learnt."""
        self._work.run.stopping = True
        await self._work.save()
        if self._watched.started is not None:
            self._child.ask_to_end()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(STOP_WITHIN_S, lambda: loop.create_task(self._child.kill()))

    async def kill(self) -> None:
        """End the process as a crash would."""
        await self._child.kill()

    def _has_model(self) -> bool:
        best = self._work.run.best
        return best is not None and (Path(best.bundle) / MODEL_JSON).is_file()

    async def _settle(self, done: Done) -> None:
        """The best model is the one that the end names, also where its line was lost with a program that was killed."""
        run = self._work.run
        if self._has_model() and run.best is not None and run.best.epoch >= done.best_epoch:
            return
        matrix = {} if run.best is None else run.best.confusion_matrix
        threshold = 0.5 if run.best is None else run.best.conf_threshold
        run.best = Best(
            epoch=done.best_epoch,
            map50=done.map50,
            map=done.map,
            accuracy=done.accuracy,
            conf_threshold=threshold,
            confusion_matrix=matrix,
            bundle=done.bundle,
        )
        run.best_is_told = False
        await self._work.save()

    async def _listen(self) -> Failed | None:
        """Hear the process to its end; how it failed, if it said so."""
        failed: Failed | None = None
        run, watched = self._work.run, self._watched
        async with aclosing(self._child.lines(self._work.settings.training_silence_sec)) as lines:
            async for line in lines:
                event = progress.parse(line)
                match event:
                    case None:
                        await self._child.note([line])
                    case Started():
                        watched.started = event
                        run.architecture = event.architecture
                        run.hyperparameters = dict(event.hyperparameters) | {"batch_size": event.batch_size}
                        await self._work.save()
                        if run.stopping:  # wanted before it could be told to
                            self._child.ask_to_end()
                    case Progress():
                        watched.progress = event
                        watched.curve.add(event)
                        self._work.tell(min(max(event.share, 0.0), 1.0))
                        await in_thread(watched.curve.keep, event)
                    case Best():
                        run.best, run.best_is_told = event, False
                        await self._work.save()
                        await self._found()
                    case Warned():
                        log.warning("%s: %s", run.name, event.message)
                        watched.warnings.append(event.message)
                    case Done():
                        self._done = event
                    case Failed():
                        failed = event
        return failed

    def _job(self) -> jobs.Job:
        run, settings = self._work.run, self._work.settings
        has_base = is_uuid(run.details.base_model_uuid)
        return jobs.Job(
            dataset=self._work.folders.project(run),
            variant=run.details.model_variant or None,
            base=self._work.folders.base(run) if has_base else None,
            # The split has been made, by the ids of the Loop.
            hyperparameters={k: v for k, v in run.details.hyperparameters.items() if k != COMPUTE_VALIDATION_SET},
            vram_limit_gb=settings.vram_limit_gb or None,
        )

    def _processes(self) -> int:
        wanted = self._work.settings.training_processes
        return wanted or max(1, cards(os.environ, Path("/dev")))


def cards(environment: Mapping[str, str], devices: Path) -> int:
    """Graphics cards that a training would see, without loading PyTorch: those of this machine, or those that
    CUDA_VISIBLE_DEVICES leaves; as CUDA does, what stands behind the first number below zero is not seen.
    """
    there = sum(1 for _ in devices.glob("nvidia[0-9]*"))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    named = [each.strip() for each in visible.split(",") if each.strip()]
    seen = list(takewhile(lambda each: not each.startswith("-"), named))
    return min(there, len(seen))
