"""Files of the Loop that are left alone for a while, because they could not be had or did not work."""

from __future__ import annotations

from collections.abc import Callable

from appliance.versions.pauses import pause
from appliance.versions.plan import BLIND_RETRY_SECONDS, FileKey, Hold

FREE_TRIES = 3
"""Of one model in one format: corrected bytes are taken at once so often, and ever more slowly after that."""

MAX_PAUSE = 3600.0
MAX_HOLDS = 100
"""Files that are remembered; beyond it the one that was held back first is forgotten."""


class Holds:
    """Pauses grow with what went wrong in a row. `clock` counts seconds and never jumps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.by_file: dict[FileKey, Hold] = {}
        self._clock = clock
        self._vain: dict[FileKey, int] = {}

    def not_there(self, key: FileKey) -> None:
        """The Loop has no such file yet: no failure."""
        self.for_now(key, None, first=5.0, cap=60.0)

    def for_now(
        self, key: FileKey, problem: str | None, *, first: float = 5.0, cap: float = 300.0, at_least: float = 0.0
    ) -> None:
        """It did not work this time; `at_least` so many seconds it is left alone."""
        tries = self._count(key)
        self.until(key, max(pause(tries, first=first, cap=cap), min(at_least, MAX_PAUSE)), problem)

    def bytes_failed(self, key: FileKey, problem: str | None, *, blind: bool) -> None:
        """These bytes are of no use; others are taken at once, until that happened too often.

        `blind`: the Loop offers nothing that would tell others from these.
        """
        tries = self._count(key)
        if blind:
            self.until(key, BLIND_RETRY_SECONDS, problem)
        elif tries > FREE_TRIES:
            self.until(key, pause(tries - FREE_TRIES, first=60.0, cap=MAX_PAUSE), problem)
        else:
            self.by_file.pop(key, None)

    def until(self, key: FileKey, seconds: float, problem: str | None) -> None:
        """Leave it alone for so long."""
        self.by_file.pop(key, None)
        self.by_file[key] = Hold(self._clock() + seconds, problem)
        if len(self.by_file) > MAX_HOLDS:
            oldest = next(iter(self.by_file))
            self.by_file.pop(oldest)
            self._vain.pop(oldest, None)

    def works(self, key: FileKey) -> None:
        """It serves: whatever went wrong is over."""
        self.by_file.pop(key, None)
        self._vain.pop(key, None)

    def forget(self, model_id: str) -> None:
        """Somebody wants it to be tried now."""
        for key in [key for key in {*self.by_file, *self._vain} if key[0] == model_id]:
            self.works(key)

    def _count(self, key: FileKey) -> int:
        if key not in self._vain and len(self._vain) >= 10 * MAX_HOLDS:
            self._vain.pop(next(iter(self._vain)))
        self._vain[key] = self._vain.get(key, 0) + 1
        return self._vain[key]
