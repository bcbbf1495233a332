"""Child processes that say lines: started in a group of their own, watched, and never left behind.

A node that was killed leaves its child running, so the group is written down beside the work and ended before the same
work is begun again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

import anyio

from models.errors import DetectorApplianceError
from models.files import FILE_SYSTEM, FileSystem
from models.uninterrupted import in_thread

log = logging.getLogger(__name__)

GROUP_FILE = "process.json"
LOG_FILE = "training.log"

LAUNCHER = "torch.distributed.run"
"""What stands in a command that starts further processes, which do the work."""

LONGEST_LINE = 2 * 1024 * 1024
MOST_LOG_BYTES = 20 * 1024 * 1024
LAST_WORDS = 40
"""Lines that are kept to say why it ended."""

PATIENCE_S = 3.0
"""A child that is told to end because the node ends may take so long."""


class ChildFailed(DetectorApplianceError):
    """A child process ended as it should not; another try may succeed."""


class Child:
    """One process, in `folder`, which exists. What it says that is no line of its own protocol goes to `LOG_FILE` there."""

    def __init__(self, folder: Path, files: FileSystem = FILE_SYSTEM) -> None:
        self._folder = folder
        self._files = files
        self._process: asyncio.subprocess.Process | None = None
        self._launches = False
        self._heard = False
        self.words: deque[str] = deque(maxlen=LAST_WORDS)

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; one that an earlier node left running in this folder is ended first. Raises `ChildFailed`."""
        await in_thread(end_leftover, self._folder)
        self._launches = LAUNCHER in command
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(environment),
                limit=LONGEST_LINE,
                start_new_session=True,
            )
            await in_thread(_note, self._folder, self._process.pid, self._files)
        except OSError as error:
            await self.kill()
            raise ChildFailed(f"{Path(command[0]).name} cannot be started: {error.strerror or error}") from error

    async def lines(self, silence: float) -> AsyncGenerator[bytes, None]:
        """What it says, line by line, to its end. Raises `ChildFailed` after `silence` seconds without one.

        To be closed (`contextlib.aclosing`) before anything else is asked of this child.
        """
        process = self._process
        assert process is not None
        assert process.stdout is not None
        self._heard = True
        try:
            while True:
                try:
                    # Not `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes together with a line.
                    with anyio.fail_after(silence):
                        line = await process.stdout.readline()
                except TimeoutError as error:
                    self._heard = False
                    await self.kill()
                    raise ChildFailed(f"the process said nothing for {silence:.0f} s and was ended") from error
                except ValueError:  # longer than any line that means something
                    continue
                if not line:
                    await process.wait()
                    return
                yield line
        finally:
            self._heard = False

    async def note(self, lines: Sequence[bytes]) -> None:
        """Keep lines for people."""
        self.words.extend(line.decode("utf-8", "replace").rstrip()[:2000] for line in lines)
        await in_thread(_append, self._folder / LOG_FILE, b"".join(lines))

    def ask_to_end(self) -> None:
        """Ask for an early end (SIGTERM): of torchrun its workers are asked, for it would kill them after half a minute."""
        if self._process is not None and self.is_running:
            ask_to_end(self._process.pid, launches=self._launches)

    async def end(self) -> None:
        """Have it end: asked at first, and killed when it takes too long."""
        self.ask_to_end()
        if self._process is not None and self.is_running:
            with anyio.move_on_after(PATIENCE_S):  # not `asyncio.wait_for`, as above
                await self._end_of(self._process)
        await self.kill()

    async def kill(self) -> None:
        """End it and its whole group at once. Nothing to do where it has ended."""
        process = self._process
        if process is None:
            return
        _kill_group(process.pid)
        await self._end_of(process)
        with contextlib.suppress(OSError):
            await in_thread(self._files.remove_tree, self._folder / GROUP_FILE)

    async def _end_of(self, process: asyncio.subprocess.Process) -> None:
        """Wait for its end. It does not come while nobody reads what a process says."""
        while not self._heard and process.stdout is not None and await process.stdout.read(LONGEST_LINE):
            pass
        await process.wait()

    def verdict(self) -> str | None:
        """Why it failed, as a sentence; None if it ended well."""
        if self._process is None:
            return "the process never began"
        status = self._process.returncode
        if status == 0:
            return None
        said = "\n".join(self.words)
        if "CUDA out of memory" in said or "CUDA error: out of memory" in said:
            return "graphics card is out of memory"
        if "CUDA error: invalid device ordinal" in said:
            return "graphics card not found"
        last = next((line.strip() for line in reversed(self.words) if line.strip()), "")
        how = f"was ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        return f"the process {how}" + (f": {last[:300]}" if last else "")


def ask_to_end(leader: int, *, launches: bool) -> None:
    """SIGTERM for a process; for its workers instead where it `launches` them, as torchrun does, which would kill them
    after half a minute.
    """
    for pid in (workers(leader) if launches else []) or [leader]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def workers(launcher: int) -> list[int]:
    """The processes that a process has started. torchrun gives each of them a session of its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _fields(int(entry.name))
        if fields is not None and int(fields[1]) == launcher and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def end_leftover(folder: Path) -> None:
    """End what an earlier node left running in `folder`. Blocks, for moments."""
    try:
        noted = json.loads((folder / GROUP_FILE).read_bytes())
        group, boot, started = int(noted["group"]), str(noted["boot"]), int(noted["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    # Numbers of processes are used again: only what was started at that very moment, or belongs to its session, is ours.
    if boot == _boot() and group > 1 and (_started(group) in (started, None)) and _session(group):
        log.warning("ending processes that an earlier start left behind (group %d)", group)
        _kill_group(group)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _note(folder: Path, pid: int, files: FileSystem) -> None:
    noted = {"group": pid, "boot": _boot(), "started": _started(pid) or 0}
    files.write_atomically(folder / GROUP_FILE, json.dumps(noted).encode())


def _append(path: Path, data: bytes) -> None:
    """A log is for people: it is not synced, and starts again when it is long."""
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > MOST_LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        with path.open("ab") as file:
            file.write(data)


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _fields(pid: int) -> list[str] | None:
    """Of /proc/PID/stat, from the state on: the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since boot; None where there is none."""
    fields = _fields(pid)
    return None if fields is None else int(fields[19])


def _session(leader: int) -> list[int]:
    """The processes of the session that began with this process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _fields(int(entry.name))
        if fields is not None and int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found
