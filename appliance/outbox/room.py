"""How much waits in the outbox, how much may, and the sentence for whoever does not get in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.outbox.folders import FOLDERS, Folder

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class OutboxBounds:
    """How much may lie here: pictures, their bytes with metadata, and the bytes that must stay free on the disk."""

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

    def __bool__(self) -> bool:
        return self.items > 0 or self.bytes > 0

    def covers(self, other: Count) -> bool:
        """Whether it is as much, or more."""
        return self.items >= other.items and self.bytes >= other.bytes


@dataclass
class Census:
    """What lies here: per folder, and how much of all was picked automatically."""

    folders: dict[Folder, Count] = field(default_factory=lambda: dict.fromkeys(FOLDERS, Count()))
    automatic: Count = field(default_factory=Count)

    @property
    def total(self) -> Count:
        """All of it, rejected pictures too."""
        return sum(self.folders.values(), Count())


@dataclass(frozen=True)
class OutboxStats:
    """What lies here: what waits in each queue, what the Loop rejected, and how much of all was picked automatically."""

    priority: Count
    normal: Count
    rejected: Count
    automatic: Count

    @property
    def total(self) -> Count:
        """What waits to be sent."""
        return self.priority + self.normal


@dataclass(frozen=True)
class Shortage:
    """Why something does not fit, as a sentence, and what would have to go."""

    sentence: str
    lacking: Count


class Room:
    """The running counts. `free_bytes` asks the disk. Not safe for several threads: the outbox holds its lock."""

    def __init__(self, bounds: OutboxBounds, free_bytes: Callable[[], int]) -> None:
        self._bounds = bounds
        self._free_bytes = free_bytes
        self._census = Census()
        self._coming = Count()

    def hold_to(self, bounds: OutboxBounds) -> None:
        """Other bounds from now on; what lies here already stays."""
        self._bounds = bounds

    def stats(self) -> OutboxStats:
        """Does not ask the disk."""
        census = self._census
        return OutboxStats(
            census.folders["priority"], census.folders["normal"], census.folders["rejected"], census.automatic
        )

    def set(self, counted: Census) -> None:
        """Take over what was really found."""
        self._census = counted

    def shortage(self, new: Count) -> Shortage | None:
        """Why `new` does not fit; None where there is room."""
        # What is on its way may not have reached the disk yet.
        left = self._free_bytes() - self._coming.bytes - new.bytes
        bounds, wanted = self._bounds, self._census.total + self._coming + new
        over = Count(max(0, wanted.items - bounds.max_items), max(0, wanted.bytes - bounds.max_bytes))
        disk = max(0, bounds.min_free_bytes - left)
        if not over and not disk:
            return None
        return Shortage(self._sentence(new, wanted, over, left), Count(over.items, max(over.bytes, disk)))

    def _sentence(self, new: Count, wanted: Count, over: Count, left: int) -> str:
        bounds, rejected = self._bounds, self._census.folders["rejected"].items
        aside = f", {rejected} of them rejected by the Loop" if rejected else ""
        if over.items:
            return (
                f"The outbox is full: {wanted.items - new.items} pictures wait in it{aside}, and no more than "
                f"{bounds.max_items} may. Have them sent, delete some, or raise max_outbox_size."
            )
        if over.bytes:
            return (
                f"The outbox is full: with this picture {_megabytes(wanted.bytes)} would wait in it{aside}, and no "
                f"more than {_megabytes(bounds.max_bytes)} may. Have them sent, delete some, or raise max_outbox_mb."
            )
        return (
            f"The disk is nearly full: with this picture {_megabytes(max(0, left))} would be left, and "
            f"{_megabytes(bounds.min_free_bytes)} must stay free. Make room on the disk."
        )

    def reserve(self, count: Count) -> None:
        """It is on its way to the disk."""
        self._coming += count

    def release(self, count: Count) -> None:
        """It did not get there, or is counted as arrived."""
        self._coming -= count

    def arrive(self, folder: Folder, count: Count, *, asked_for: bool) -> None:
        """It is there."""
        self._census.folders[folder] += count
        if not asked_for:
            self._census.automatic += count

    def leave(self, folder: Folder, count: Count, *, asked_for: bool) -> None:
        """It is gone from there."""
        self._census.folders[folder] -= count
        if not asked_for:
            self._census.automatic -= count


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB"
