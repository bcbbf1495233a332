"""What a child process writes to stderr: native libraries say there why they die."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque

log = logging.getLogger(__name__)

LINES = 5
"""So many of the last lines are kept."""

LONGEST_LINE = 300
"""Bytes; of a longer one its end is kept."""


class LastWords:
    """Reads one end of a pipe as long as the event loop runs. Belongs to it, and owns the file descriptor."""

    def __init__(self, file: int, speaker: str) -> None:
        self.lines: deque[str] = deque(maxlen=LINES)
        self._file = file
        self._speaker = speaker
        self._unfinished = b""
        os.set_blocking(file, False)
        asyncio.get_running_loop().add_reader(file, self._read)

    def close(self) -> None:
        """Read what was written so far, then stop. A grandchild may hold the other end open: nobody waits for that."""
        while self._file >= 0 and self._read():
            pass
        self._close()
        self._keep(self._unfinished)
        self._unfinished = b""

    def _read(self) -> bool:
        """Whether there was something to read."""
        try:
            chunk = os.read(self._file, 65536)
        except BlockingIOError:
            return False
        if not chunk:
            self._close()
            return False
        *finished, unfinished = (self._unfinished + chunk).split(b"\n")
        for line in finished:
            self._keep(line)
        self._unfinished = unfinished[-LONGEST_LINE:]
        return True

    def _keep(self, line: bytes) -> None:
        text = line[-LONGEST_LINE:].decode(errors="replace").strip()
        if text:
            self.lines.append(text)
            log.debug("%s: %s", self._speaker, text)

    def _close(self) -> None:
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1
