"""A child process without a process: the test holds the other end of its channel and of its stderr, and ends it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from appliance.inference import channel
from appliance.inference.child import Child

PID = 4711


class FakeProcess:
    """A process as `appliance.inference.child.Process` says; `theirs` is its end of the channel.

    `polite`: it ends when the channel closes, as a worker does. `killable`: it ends when it is killed.
    """

    def __init__(self, *, polite: bool = True) -> None:
        self.pid = PID
        self.kills = 0
        self.killable = True
        self.polite = polite
        self._grandchild = False
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ours, self.theirs = channel.pair()
        self.theirs.setblocking(False)
        words, self._stderr = os.pipe()
        self.child = Child(self, ours, words)
        self._hears: Callable[[dict[str, Any]], None] = lambda message: None
        asyncio.get_running_loop().add_reader(self.theirs.fileno(), self._read)
        self.heard: list[dict[str, Any]] = []
        """What it was told, without pictures."""

    def kill(self) -> None:
        self.kills += 1
        if self.killable:
            self.end(-9)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def on_message(self, hear: Callable[[dict[str, Any]], None]) -> None:
        """What it does with what it is told."""
        self._hears = hear

    def say(self, message: dict[str, Any]) -> None:
        """Send something to the server."""
        channel.send(self.theirs, message)

    def cry(self, text: bytes) -> None:
        """Write to stderr."""
        os.write(self._stderr, text)

    def keep_stderr_open(self) -> None:
        """As a process would that it has started itself."""
        self._grandchild = True

    def close_stderr(self) -> None:
        os.close(self._stderr)

    def hang_up(self) -> None:
        """Close the channel."""
        if self.theirs.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.theirs.fileno())
            self.theirs.close()

    def end(self, code: int) -> None:
        """Die."""
        if self._code.done():
            return
        self.hang_up()
        if not self._grandchild:
            self.close_stderr()
        self._code.set_result(code)

    @property
    def alive(self) -> bool:
        return not self._code.done()

    def _read(self) -> None:
        while self.theirs.fileno() >= 0:
            try:
                message = channel.receive(self.theirs)
            except BlockingIOError:
                return
            except ConnectionResetError:  # told once, where the channel was closed with messages unread
                continue
            if message is None:
                self.hang_up()
                if self.polite:
                    self.end(0)
                return
            self.heard.append(message[0])
            self._hears(message[0])
