"""A zip that is sent while it is made: neither whole in memory nor on the disk.

The form is that of PKWARE's APPNOTE 6.3 (sections 4.3 and 4.5.3): size and checksum of a member stand in front of it, so that
programs can unpack while they receive; Zip64 where counts and places need it. The standard library's zipfile remembers each
member as objects, which with a hundred thousand pictures makes the collector of garbage stop everything for a moment, again
and again; here they are bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

PIECE = 256 * 1024
"""Bytes that are gathered before they go out."""

STORED, DEFLATED = 0, 8
"""Methods: as it is, and packed by zlib."""

MOST_MEMBERS = 0xFFFF
MOST_BYTES = 0xFFFFFFFF
"""Where Zip64 begins."""

_SEE_ZIP64 = 0xFFFF, 0xFFFFFFFF
"""In a field of two bytes, and of four, of the old form."""

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")

_PLAIN, _ZIP64 = 20, 45
"""Versions of the form, times ten."""

_UTF_8 = 0x800
_FIRST_DAY = 1 << 5 | 1
"""1980-01-01: names tell the time of pictures, to the microsecond and with their zone."""

_FILE = 0o100644 << 16
_UNIX = 3 << 8


class ZipStream:
    """Iterate over its bytes. Pictures are not packed, for they do not shrink; JSON is.

    `members` yields (name, bytes), one at a time; what it raises ends the stream. Names are not checked, nor whether they
    come twice. In memory are one member, and some 100 bytes for each that has gone out. Raises ValueError for a member of
    4 GiB and more.
    """

    def __init__(self, members: Iterable[tuple[str, bytes]]) -> None:
        self._members = members

    def __iter__(self) -> Iterator[bytes]:
        directory, count, gone, waiting = bytearray(), 0, 0, bytearray()
        for name, data in self._members:
            member = _Member(name, data)
            directory += member.entry(gone + len(waiting))
            count += 1
            waiting += member.header
            waiting += member.packed
            if len(waiting) >= PIECE:
                gone += len(waiting)
                yield from _pieces(waiting)
                waiting = bytearray()
        start = gone + len(waiting)
        yield from _pieces(waiting)
        yield from _pieces(directory)
        yield _end(count, len(directory), start)


class _Member:
    """A file in the zip: `header` in front of the `packed` bytes, and an entry in the list at the end."""

    def __init__(self, name: str, data: bytes) -> None:
        if len(data) >= MOST_BYTES:
            raise ValueError(f"{name} has {len(data)} bytes; a member may have {MOST_BYTES - 1}")
        method = DEFLATED if name.endswith(".json") else STORED
        self.packed = _deflated(data) if method == DEFLATED else data
        self._name = name.encode()
        flags = 0 if name.isascii() else _UTF_8
        sizes = zlib.crc32(data), len(self.packed), len(data)
        self._common = flags, method, 0, _FIRST_DAY, *sizes, len(self._name)
        self.header = _LOCAL.pack(b"PK\3\4", _PLAIN, *self._common, 0) + self._name

    def entry(self, place: int) -> bytes:
        """In the list at the end; `place` is where the header begins."""
        far = place >= MOST_BYTES
        extra = struct.pack("<2HQ", 1, 8, place) if far else b""
        version = _ZIP64 if far else _PLAIN
        fields = _CENTRAL.pack(
            b"PK\1\2",
            _UNIX | version,
            version,
            *self._common,
            len(extra),
            0,
            0,
            0,
            _FILE,
            _SEE_ZIP64[1] if far else place,
        )
        return fields + self._name + extra


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _end(count: int, size: int, start: int) -> bytes:
    """What follows the list of `count` members, which has `size` bytes and begins at `start`."""
    many, far = count >= MOST_MEMBERS, max(size, start) >= MOST_BYTES
    end = _END.pack(
        b"PK\5\6", 0, 0, *(2 * (_SEE_ZIP64[0] if many else count,)),
        *(2 * (_SEE_ZIP64[1],) if far else (size, start)), 0,
    )  # fmt: skip
    if not many and not far:
        return end
    whole = _ZIP64_END.pack(b"PK\6\6", _ZIP64_END.size - 12, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, start)
    return whole + _ZIP64_LOCATOR.pack(b"PK\6\7", 0, start + size, 1) + end


def _pieces(data: bytearray) -> Iterator[bytes]:
    for place in range(0, len(data), PIECE):
        yield bytes(memoryview(data)[place : place + PIECE])
