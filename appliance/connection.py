"""Whether the Loop answers, for people and for those that have to know."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

ConnectionState = Literal["standalone", "connecting", "connected", "away", "off"]


@dataclass(frozen=True)
class Condition:
    """`state`, for how many seconds, and `because` where the Loop is away.

    `standalone`: none is configured; `connecting`: it was not asked yet; `off`: it is not asked, by `PUT /socketio off`.
    """

    state: ConnectionState
    seconds: float = 0.0
    because: str | None = None


class LoopConnection:
    """Told of every answer and every silence by what asks the Loop most often; belongs to one thread.

    `clock` counts seconds and never jumps.
    """

    def __init__(self, host: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self._clock = clock
        self._state: ConnectionState = "standalone" if host is None else "connecting"
        self._since = clock()
        self._because: str | None = None

    def answered(self) -> None:
        """The Loop gave an answer that makes sense."""
        self._become("connected", None)

    def away(self, because: str) -> None:
        """It did not; `because` is a sentence."""
        self._become("away", because)

    def off(self) -> None:
        """It is not asked any more."""
        self._become("off", None)

    def connecting(self) -> None:
        """It will be asked."""
        self._become("connecting", None)

    @property
    def condition(self) -> Condition:
        """How it is now."""
        return Condition(self._state, self._clock() - self._since, self._because)

    def in_words(self, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> dict[str, Any]:
        """As REST and the dashboard tell it. `since` is reckoned back from now, so that a clock that jumped does not lie."""
        how = self.condition
        since = now() - timedelta(seconds=how.seconds)
        return {
            "state": how.state,
            "host": self.host,
            "since": since.isoformat(timespec="seconds") if how.state != "standalone" else None,
            "because": how.because,
        }

    def _become(self, state: ConnectionState, because: str | None) -> None:
        if self._state == "standalone":
            return
        if state != self._state:
            self._since = self._clock()
        self._state, self._because = state, because
