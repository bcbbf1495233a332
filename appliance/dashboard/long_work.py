"""Something that is done to many pictures: begun by one visitor, seen by all, and finished though they leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from models.errors import DetectorApplianceError
from ui.ports import LongWork, LongWorkKind

log = logging.getLogger(__name__)


class Worker:
    """One work at a time, step by step in threads; `on_change` is told when it begins and ends. Belongs to one event loop."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._state: LongWork | None = None

    @property
    def state(self) -> LongWork | None:
        """What is being done, or was done last; None: nothing since the start."""
        return self._state

    def begin(self, kind: LongWorkKind, steps: Iterator[int], total: int) -> None:
        """Do all `steps`, each of which says how many are done. Raises `DetectorApplianceError` while another work goes on."""
        if self._state is not None and self._state.running:
            raise DetectorApplianceError("The work before is not done yet; wait until it is, or restart the box.")
        number = 1 if self._state is None else self._state.number + 1
        self._state = LongWork(number, kind, 0, total)
        self._task = asyncio.create_task(self._work(self._state, steps), name=kind)
        self._on_change()

    async def _work(self, state: LongWork, steps: Iterator[int]) -> None:
        done, error = 0, None
        try:
            while (so_far := await asyncio.to_thread(next, steps, None)) is not None:
                done = so_far
                self._state = state.at(done)
        except DetectorApplianceError as refused:
            error = str(refused)
        except Exception as unforeseen:  # whoever waits for it must see that it has ended
            log.exception("%s ended early", state.kind)
            error = f"Unforeseen error ({type(unforeseen).__name__}); the log tells more."
        self._state = state.ended(done, error)
        self._on_change()
