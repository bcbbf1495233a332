"""How much waits in the outbox, how much may, and the sentence for whoever does not get in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.outbox.folders import QUEUES, Queue

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class OutboxBounds:
    """How much may wait: pictures, their bytes with metadata, and the bytes that must stay free on the disk."""

    max_items: int
    max_bytes: int
    min_free_bytes: int


@dataclass(frozen=True)
class Count:
    """A number of pictures, and their bytes with metadata."""

    items: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.items + other.items, self.bytes + other.bytes)

    def __sub__(self, other: Count) -> Count:
        """Not below zero: what a person deletes or changes makes a running count wrong until it is counted again."""
        return Count(max(0, self.items - other.items), max(0, self.bytes - other.bytes))


@dataclass(frozen=True)
class OutboxStats:
    """What waits in each queue, and how many pictures were refused for want of room since the start."""

    priority: Count
    normal: Count
    refused: int

    @property
    def total(self) -> Count:
        return self.priority + self.normal


class Room:
    """The running counts. `free_bytes` asks the disk. Not safe for several threads: the outbox holds its lock."""

    def __init__(self, bounds: OutboxBounds, free_bytes: Callable[[], int]) -> None:
        self._bounds = bounds
        self._free_bytes = free_bytes
        self._waiting: dict[Queue, Count] = dict.fromkeys(QUEUES, Count())
        self._coming = Count()
        self._refused = 0

    def stats(self) -> OutboxStats:
        return OutboxStats(self._waiting["priority"], self._waiting["normal"], self._refused)

    def set(self, counted: Mapping[Queue, Count]) -> None:
        """Take over what was really found."""
        self._waiting = dict(counted)

    def why_not(self, new: Count) -> str | None:
        """The bound that `new` would break, as a sentence; None where there is room."""
        waiting = self.stats().total + self._coming
        bounds = self._bounds
        if waiting.items + new.items > bounds.max_items:
            return (
                f"The outbox is full: {waiting.items} pictures wait in it, and no more than {bounds.max_items} may. "
                "Have them sent, delete some, or raise max_outbox_size."
            )
        if waiting.bytes + new.bytes > bounds.max_bytes:
            return (
                f"The outbox is full: with this picture {_megabytes(waiting.bytes + new.bytes)} would wait in it, and no "
                f"more than {_megabytes(bounds.max_bytes)} may. Have them sent, delete some, or raise max_outbox_mb."
            )
        # What is on its way may not have reached the disk yet.
        left = self._free_bytes() - self._coming.bytes - new.bytes
        if left < bounds.min_free_bytes:
            return (
                f"The disk is nearly full: with this picture {_megabytes(max(0, left))} would be left, and "
                f"{_megabytes(bounds.min_free_bytes)} must stay free. Make room on the disk."
            )
        return None

    def refuse(self) -> None:
        self._refused += 1

    def reserve(self, count: Count) -> None:
        """It is on its way to the disk."""
        self._coming += count

    def release(self, count: Count) -> None:
        """It did not get there."""
        self._coming -= count

    def arrive(self, queue: Queue, count: Count) -> None:
        """It got there."""
        self._coming -= count
        self._waiting[queue] += count

    def leave(self, queue: Queue, count: Count) -> None:
        """It is gone from there."""
        self._waiting[queue] -= count


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB"
