"""A zip that is sent while it is made: neither whole in memory nor on the disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

PIECE = 256 * 1024
"""Bytes that are gathered before they go out."""


class ZipStream:
    """Iterate over its bytes. Pictures are not packed, for they do not shrink; JSON is.

    `members` yields (name, bytes), one at a time; what it raises ends the stream. In memory are one member, and what the
    zip's own list of members needs: some 400 bytes each.
    """

    def __init__(self, members: Iterable[tuple[str, bytes]]) -> None:
        self._members = members

    def __iter__(self) -> Iterator[bytes]:
        window = _Window()
        with zipfile.ZipFile(cast("IO[bytes]", window), "w", zipfile.ZIP_STORED) as archive:
            for name, data in self._members:
                packed = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, data, packed)
                if window.size >= PIECE:
                    yield from window.taken()
        yield from window.taken()


class _Window:
    """A file of which only what was written last is kept.

    A member's size and checksum belong in front of it, and zipfile goes back to enter them. In a file that cannot be
    rewound it would put them behind, where programs that unpack while they receive cannot read members that are not packed.
    """

    def __init__(self) -> None:
        self._start = 0
        self._position = 0
        self._kept = bytearray()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._kept)

    def write(self, data: bytes) -> int:
        """Over what is there, and beyond."""
        place = self._position - self._start
        self._kept[place : place + len(data)] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """As any file."""
        return self._position

    def seek(self, position: int) -> int:
        """Raises ValueError for what has gone out."""
        if not self._start <= position <= self._start + len(self._kept):
            raise ValueError(f"byte {position} has gone out")
        self._position = position
        return position

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> Iterator[bytes]:
        """All that is kept, which goes out now."""
        kept, self._kept = self._kept, bytearray()
        self._start += len(kept)
        for place in range(0, len(kept), PIECE):
            yield bytes(memoryview(kept)[place : place + PIECE])
