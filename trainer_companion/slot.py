"""The right to use the graphics card, shared by the trainers of one machine: an flock on a file that all of them see.

learning-loop-node's trainers take it in the same way: the lock belongs to the file, which is only ever truncated and
written in place; its text names who holds it, for people. The kernel lets the lock go however a process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from pathlib import Path

log = logging.getLogger(__name__)

_ATTEMPTS = 3
"""A look at who holds the slot holds it for a moment itself: a claim that meets one tries again."""

_LONGEST_NAME = 4096


class Slot:
    """One machine's slot. `path` None: there is nobody to share with, and it is always free."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._held = False

    @property
    def held(self) -> bool:
        """Whether this trainer has it."""
        return self._held

    def claim(self, training: str) -> str | None:
        """Take it for `training` without waiting, if it is not held already; None, or who has it instead.

        Raises OSError where the file cannot be opened.
        """
        if self._held or self._path is None:
            self._held = True
            return None
        holder = ""
        for _ in range(_ATTEMPTS):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            with contextlib.suppress(PermissionError):  # of another user, who has done so
                os.fchmod(descriptor, 0o666)
            if _lock(descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}, {training}".encode(), 0)
                self._descriptor, self._held = descriptor, True
                return None
            holder = os.pread(descriptor, _LONGEST_NAME, 0).decode("utf-8", "replace")
            os.close(descriptor)
            if self.holder() is not None:
                break
        return holder or "another trainer"

    def release(self) -> None:
        """Give it back; nothing to do where it is not held."""
        descriptor, self._descriptor, self._held = self._descriptor, None, False
        if descriptor is None:
            return
        try:
            os.ftruncate(descriptor, 0)
        except OSError as error:
            log.warning("the training slot still names this trainer: %s", error)
        finally:
            os.close(descriptor)

    def holder(self) -> str | None:
        """Which other trainer has it; None where it is free, or cannot be looked at."""
        if self._held or self._path is None:
            return None
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the training slot %s cannot be looked at, and counts as free: %s", self._path, error)
            return None
        try:
            if _lock(descriptor):
                return None
            return os.pread(descriptor, _LONGEST_NAME, 0).decode("utf-8", "replace") or "another trainer"
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
