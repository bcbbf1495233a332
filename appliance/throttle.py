"""Token buckets per network: what anybody may do, but not without end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from access import counted_as


class Throttle:
    """Lets `per_minute` pass from each network, evenly, after a burst of as many. `clock` is in seconds.

    A network is what `counted_as` says. At most `limit` are remembered, those seen last; one that is forgotten starts anew.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float], limit: int = 4096) -> None:
        self._capacity = float(per_minute)
        self._rate = per_minute / 60.0
        self._clock = clock
        self._limit = limit
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until something may pass from this address; 0 if it may now."""
        left = self._current(address)
        return max(0.0, (min(1.0, self._capacity) - left) / self._rate)

    def take(self, address: str, amount: float = 1.0) -> None:
        """Note that so much has passed; it may overdraw the bucket, which then takes longer to fill."""
        key = counted_as(address)
        self._left[key] = (self._current(address) - amount, self._clock())
        self._left.move_to_end(key)
        if len(self._left) > self._limit:
            self._left.popitem(last=False)

    def _current(self, address: str) -> float:
        left, since = self._left.get(counted_as(address), (self._capacity, self._clock()))
        return min(self._capacity, left + (self._clock() - since) * self._rate)
