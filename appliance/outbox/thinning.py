"""Which automatic picks go when room is needed: those that the others stand in for best. Pure.

Pictures of the same hour tell much the same; the one picture of a night may tell more than all of them. So those go whose
neighbours in time are nearest to each other, one after another, and what is left is spread as evenly as it can be. The
earliest and the latest go last.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.outbox.room import Count

SHARE = 16
MOST_AT_ONCE = 256
"""Looking through all picks costs time that grows with their number, so one time in so many makes room for several."""


@dataclass(frozen=True)
class Pick:
    """An automatic pick: when it came (seconds), and its bytes with metadata."""

    moment: float
    bytes: int


def to_thin(picks: Sequence[Pick], lacking: Count) -> list[int]:
    """Indices of the picks that should go, so that at least `lacking` becomes free; none where even all are not enough.

    `picks` are in the order of time.
    """
    if not lacking or not Count(len(picks), sum(pick.bytes for pick in picks)).covers(lacking):
        return []
    ahead = min(len(picks) // SHARE, MOST_AT_ONCE)
    freed = Count()
    chosen: list[int] = []
    for index in _most_dispensable_first([pick.moment for pick in picks]):
        if freed.covers(lacking) and len(chosen) >= ahead:
            break
        chosen.append(index)
        freed += Count(1, picks[index].bytes)
    return chosen


def _most_dispensable_first(moments: Sequence[float]) -> Iterator[int]:
    """All indices; each time the one whose neighbours are nearest to each other, of several the earliest."""
    count = len(moments)
    before, after = list(range(-1, count - 1)), list(range(1, count + 1))

    def gap(index: int) -> float:
        return moments[after[index]] - moments[before[index]]

    heap = [(gap(index), index) for index in range(1, count - 1)]
    heapq.heapify(heap)
    while heap:
        width, index = heapq.heappop(heap)
        if width != gap(index):  # a neighbour has gone since, so it is wider by now
            heapq.heappush(heap, (gap(index), index))
            continue
        left, right = before[index], after[index]
        after[left], before[right] = right, left
        yield index
    yield from [count - 1, 0][:count]
