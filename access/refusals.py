"""A no: its reason, its sentence with the way out, and who was told it lately."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from access.callers import Reason
from access.hosts import counted_as, network_of


@dataclass(frozen=True)
class Refusal:
    """A no, with the way out as a sentence."""

    reason: Reason
    sentence: str

    @property
    def status(self) -> int:
        """HTTP status: 401 where credentials would help, 429 where patience would, else 403."""
        if self.reason in {Reason.TRIES, Reason.CONNECTIONS}:
            return 429
        return 403 if self.reason in {Reason.HOST, Reason.PREFLIGHT, Reason.ORIGIN, Reason.ROLE} else 401


@dataclass(frozen=True)
class WayIn:
    """What a stranger is told to do, and the scheme for the header `WWW-Authenticate`; None: no credentials would help."""

    sentence: str
    scheme: str | None


@dataclass(frozen=True)
class Refused:
    """Who was turned away, why and how often. Times are seconds since 1970; `network` is what one would trust."""

    address: str
    reason: Reason
    sentence: str
    network: str | None
    count: int
    first: float
    last: float


class Refusals:
    """What was turned away lately: robots send no credentials and read no answer, so people must see it here.

    At most `limit` entries are kept, those refused last; machines of one IPv6 /64 share an entry (see `counted_as`).
    `totals` count everything by reason, `forgotten` the entries that had to go. Any thread may call.
    """

    def __init__(self, clock: Callable[[], float], limit: int = 256) -> None:
        self.totals: Counter[Reason] = Counter()
        self.forgotten = 0
        self._clock = clock
        self._limit = limit
        self._entries: OrderedDict[tuple[str, Reason], Refused] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, address: str, refusal: Refusal) -> bool:
        """Count a refusal. True where this address was not refused for this reason lately."""
        now = self._clock()
        key = (counted_as(address), refusal.reason)
        with self._lock:
            self.totals[refusal.reason] += 1
            before = self._entries.pop(key, None)
            self._entries[key] = Refused(
                address=address,
                reason=refusal.reason,
                sentence=refusal.sentence,
                network=network_of(address) if refusal.reason is Reason.NETWORK else None,
                count=before.count + 1 if before else 1,
                first=before.first if before else now,
                last=now,
            )
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
                self.forgotten += 1
        return before is None

    def snapshot(self) -> list[Refused]:
        """The entries, the latest first."""
        with self._lock:
            return list(reversed(self._entries.values()))
