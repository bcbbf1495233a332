"""Memory that a server and its worker share, for pictures of the usual size.

A memory file of its own for every picture costs more than writing the picture: the kernel finds, clears and returns its
pages each time. So there are a few places that are used again and again; what does not fit travels as `channel` does it.
"""

from __future__ import annotations

import mmap
import os

from appliance.inference.channel import Payload

PLACE = 2**20
"""Bytes. Most camera pictures are smaller; pages that no picture ever reached take no memory."""


class Region:
    """As many places as pictures are under way at once. `file` is the memory file, for the other side to map."""

    def __init__(self, places: int) -> None:
        """Raises OSError where there is no memory."""
        self.file = os.memfd_create("pictures", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.file, places * PLACE)
            self._memory = mmap.mmap(self.file, places * PLACE)
        except BaseException:
            os.close(self.file)
            raise
        self._free = list(range(0, places * PLACE, PLACE))

    def write(self, payload: Payload) -> int | None:
        """Put a picture somewhere and return where, as a number of bytes from the start; None where it does not fit."""
        size = memoryview(payload).nbytes
        if size > PLACE or not self._free:
            return None
        at = self._free.pop()
        self._memory[at : at + size] = payload
        return at

    def free(self, at: int) -> None:
        """The picture there is not needed any more."""
        self._free.append(at)

    def close(self) -> None:
        """Give the memory back, once the other side has done so, too; nothing can be put there any more."""
        self._free.clear()
        self._memory.close()
        os.close(self.file)
