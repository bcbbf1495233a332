"""A module of this program that runs in a process of its own, with a channel to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from appliance.inference import channel
from appliance.inference.last_words import LastWords
from models.errors import DetectionUnavailable

_HOME = Path(__file__).resolve().parents[2]
"""Where the packages of this program lie."""

GRACE = 1.0
"""Seconds that a process has to die after it has hung up."""

_START = """\
import runpy, sys
if sys.path[0] == "":
    del sys.path[0]
sys.path.append(sys.argv[1])
sys.argv[:] = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class Process(Protocol):
    """A running process, as asyncio has it."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


class Child:
    """Made by `start`. `gone` is done as soon as it has died, for whatever reason, and all that it sent was heard."""

    def __init__(self, process: Process, ours: socket.socket, stderr: int) -> None:
        self.pid = process.pid
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process = process
        self._channel = ours
        self._condemned = False
        self._execution: asyncio.TimerHandle | None = None
        self._hear: Callable[[dict[str, Any]], None] | None = None
        self._last_words = LastWords(stderr, f"process {process.pid}")
        self._watcher = asyncio.create_task(self._watch(), name=f"watch process {self.pid}")
        ours.setblocking(False)

    @staticmethod
    async def start(module: str) -> Child:
        """Run a module, whose only argument is the number of the file descriptor with its end of the channel.

        Raises `DetectionUnavailable` where the box cannot start a process.
        """
        with contextlib.ExitStack() as on_failure:
            try:
                ours, theirs = channel.pair()
                on_failure.callback(ours.close)
                with theirs:
                    words, stderr = os.pipe()
                    on_failure.callback(os.close, words)
                    with os.fdopen(stderr, "wb"):
                        process = await asyncio.create_subprocess_exec(
                            *command(module, str(theirs.fileno())),
                            stdin=asyncio.subprocess.DEVNULL,
                            stdout=asyncio.subprocess.DEVNULL,
                            stderr=stderr,
                            pass_fds=[theirs.fileno()],
                            env=environment(),
                        )
            except OSError as error:
                raise DetectionUnavailable(
                    f"The box cannot start a process to run a model: {error.strerror}", retry_after=5.0
                ) from error
            on_failure.pop_all()
        return Child(process, ours, words)

    def listen(self, hear: Callable[[dict[str, Any]], None]) -> None:
        """From now on hand over what comes."""
        self._hear = hear
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._read)

    @property
    def listening(self) -> bool:
        """Whether it can still be told something; not any more once it has hung up or is being killed."""
        return not self._condemned and self._channel.fileno() >= 0

    def tell(self, header: dict[str, Any], payload: channel.Payload | None = None) -> None:
        """Send a message. Raises OSError where it is not `listening` any more, `Overloaded` as `channel.send` does."""
        try:
            channel.send(self._channel, header, payload)
        except OSError:  # gone, or (its buffer being full of unread messages) as good as gone
            self._hung_up()
            raise

    def tell_with_file(self, header: dict[str, Any], file: int) -> None:
        """Send a short message and an open file. Raises OSError as `tell` does."""
        try:
            channel.send_with_file(self._channel, header, file)
        except OSError:
            self._hung_up()
            raise

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._condemned = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, patience: float = 2.0) -> None:
        """Close the channel, upon which it ends by itself; kill it if it has not after `patience` seconds."""
        self._close_channel()
        await asyncio.wait({self.gone}, timeout=patience)
        if not self.gone.done():
            self.kill()
        await asyncio.wait({self._watcher})

    def why_it_died(self) -> str:
        """For people: how it ended and what it wrote last."""
        how = self.gone.result() if self.gone.done() else "It still runs"
        words = " / ".join(self._last_words.lines)
        return f"{how}.{f' Its last words: {words}' if words else ''}"

    def _read(self) -> None:
        while self._hear is not None and self._channel.fileno() >= 0:
            try:
                message = channel.receive(self._channel)
            except BlockingIOError:
                return
            except ConnectionResetError:  # told once, if it died with messages unread; what it sent is still there
                continue
            except (OSError, ValueError):  # ValueError: what writes nonsense has lost its mind, and dies soon
                message = None
            if message is None:
                self._hung_up()
                return
            self._hear(message[0])

    def _hung_up(self) -> None:
        """It dies at this moment, else it is helped along: who does not answer any more is of no use.

        Not at once: asking the dead to end takes its exit status from asyncio, which then makes one up.
        """
        self._condemned = True
        self._close_channel()
        if self._execution is None:
            self._execution = asyncio.get_running_loop().call_later(GRACE, self.kill)

    def _close_channel(self) -> None:
        if self._channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()

    async def _watch(self) -> None:
        code = await self._process.wait()
        self._read()  # what it sent before it died still counts
        self._close_channel()
        self._last_words.close()
        if self._execution is not None:
            self._execution.cancel()
        self.gone.set_result(f"It was ended by signal {-code}" if code < 0 else f"It ended with exit status {code}")


Start = Callable[[str], Awaitable[Child]]
"""What `Child.start` does."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` with this interpreter and these packages.

    `python -m` would look for every import in the working directory first, and folders named `models` are common.
    """
    return [sys.executable, "-c", _START, str(_HOME), module, *arguments]


def environment() -> dict[str, str]:
    """Ours, with OpenMP threads that sleep while they wait: spinning ones cost a core between two pictures."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
