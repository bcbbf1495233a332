"""What goes into the next request to the Loop. Pure.

Pictures that somebody wants sent first go first, the oldest of them first. Of the others the newest and the oldest take
turns: what happens now is seen soon, and what has waited long does not wait for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

MAX_ITEMS = 20
"""Pictures in one request, as upstream sends them."""

MAX_BYTES = 8_000_000
"""Bytes in one request, if it has several pictures. All of them are in memory while they are sent."""


TRIES_BEFORE_MORE = 8
"""Requests in a row that got through before larger ones are tried again."""


class Sized(Protocol):
    """Anything with an id and a size in bytes."""

    @property
    def id(self) -> str: ...

    @property
    def bytes(self) -> int: ...


S = TypeVar("S", bound=Sized)
T = TypeVar("T")


def compose(
    priority: Iterable[S], newest: Iterable[S], oldest: Iterable[S], *, max_items: int, max_bytes: int = MAX_BYTES
) -> list[S]:
    """The next batch, from the beginnings of three lists; `newest` and `oldest` may be the same pictures.

    One picture is taken however large it is.
    """
    batch: list[S] = []
    size = 0
    for picture in _once(priority, _in_turns(newest, oldest)):
        if len(batch) == max_items or (batch and size + picture.bytes > max_bytes):
            break
        batch.append(picture)
        size += picture.bytes
    return batch


def halves(batch: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """A batch of at least two that the Loop refused: the guilty one is in one of these."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


@dataclass
class BatchSize:
    """How many pictures a request may have: a line that breaks off again and again gets fewer at a time.

    More are tried only after several that got through: on a line that carries no more, each such try costs minutes.
    """

    max_items: int = MAX_ITEMS
    in_a_row: int = 0

    def succeeded(self) -> None:
        """A request got through."""
        self.in_a_row += 1
        if self.in_a_row >= TRIES_BEFORE_MORE:
            self.max_items, self.in_a_row = min(MAX_ITEMS, 2 * self.max_items), 0

    def broke_off(self) -> None:
        """A request did not, though nobody said no."""
        self.max_items, self.in_a_row = max(1, self.max_items // 2), 0


def _in_turns(newest: Iterable[S], oldest: Iterable[S]) -> Iterator[S]:
    remaining = [iter(newest), iter(oldest)]
    while remaining:
        for each in list(remaining):
            try:
                yield next(each)
            except StopIteration:
                remaining.remove(each)


def _once(*several: Iterable[S]) -> Iterator[S]:
    seen: set[str] = set()
    for each in several:
        for picture in each:
            if picture.id not in seen:
                seen.add(picture.id)
                yield picture
