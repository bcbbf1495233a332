"""How hard the Loop is asked: how many requests at once, how long nobody asks after a failure, how many bytes a second.

Pure but for what they remember: times are passed in, in seconds of a clock that never goes back.
"""

from __future__ import annotations

import math
from collections import deque

MOST_AT_ONCE = 8
"""Requests."""

SLOWER = 2.0
SLOWER_SECONDS = 0.1
"""A request that takes so many times as long as the best of its size, and so much longer, has waited for others."""

FADING = 1.03
"""What was the best once counts for less with every request: lines and Loops change."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds without a request after failures; the Loop's own `Retry-After` may ask for more."""

RATE_WINDOW = 10.0
"""Seconds over which the rate of sending is measured."""


class Concurrency:
    """How many requests may be under way: from one upwards while all goes well, half as many when it does not.

    The first failure ends the fast rise, as with TCP: from then on one more per round. Requests that began before the
    last halving say nothing new.
    """

    def __init__(self) -> None:
        self._allowed = 1.0
        self._fast = True
        self._halved = -math.inf
        self._best: dict[int, float] = {}

    @property
    def allowed(self) -> int:
        """Requests at once, from 1 to `MOST_AT_ONCE`."""
        return int(self._allowed)

    def succeeded(self, began: float, ended: float, size: int) -> None:
        """A request of `size` bytes got through. One that took far longer than others of its size counts as a failure."""
        seconds, about = ended - began, size.bit_length()
        best = self._best.get(about, seconds)
        self._best[about] = min(seconds, best * FADING)
        if seconds > max(SLOWER * best, best + SLOWER_SECONDS):
            self.failed(began, ended)
            return
        self._allowed = min(MOST_AT_ONCE, self._allowed + (1.0 if self._fast else 1.0 / self._allowed))

    def failed(self, began: float, ended: float) -> None:
        """The Loop is busy, or does not answer."""
        if began < self._halved:
            return
        self._halved = ended
        self._fast = False
        self._allowed = max(1.0, self._allowed / 2)


class Backoff:
    """How long nobody asks: twice as long after every failure in a row, up to a cap, and never the same for two boxes."""

    def __init__(self) -> None:
        self.failures = 0

    def failed(self, chance: float, retry_after: float | None = None) -> float:
        """Seconds to wait now. `chance` is from 0 to 1; `retry_after` is what the Loop asked for, and the least then."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures, 30)) * (0.5 + 0.5 * chance)
        self.failures += 1
        if retry_after is None:
            return pause
        # All boxes were told the same moment.
        return max(pause, retry_after + min(0.1 * retry_after, 10.0) * chance)

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0


class TokenBucket:
    """A bandwidth that several senders share; what was not used for a quarter of a second is lost."""

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_at = -math.inf

    def take(self, size: int, now: float) -> float:
        """Seconds to wait before these bytes may leave."""
        start = max(self._free_at, now - 0.25)
        self._free_at = start + size / self.bytes_per_second
        return max(0.0, self._free_at - now)


class Rate:
    """Bytes a second over the last moments."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, float, int]] = deque()

    def add(self, began: float, ended: float, size: int) -> None:
        """So many bytes were sent in that time."""
        self._sent.append((began, ended, size))
        self._forget(ended)

    def per_second(self, now: float) -> float:
        """Zero where nothing was sent lately."""
        self._forget(now)
        if not self._sent:
            return 0.0
        since = min(began for began, _, _ in self._sent)
        return sum(size for _, _, size in self._sent) / max(now - since, 0.001)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0][1] < now - RATE_WINDOW:
            self._sent.popleft()
