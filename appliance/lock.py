"""One server per data folder, and how a command finds it: `DATA/appliance.lock`.

The running server holds an flock on the file, which the kernel lets go of however the process ends; the file's text
says who that is: `{"pid": 4711, "url": "http://127.0.0.1:8004"}`. What a dead server left in it counts for nothing. The
descriptor is not inherited by programs that the server starts, so no child keeps the folder occupied.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from models.errors import SettingsInvalid

LOCK_FILE = "appliance.lock"

_ATTEMPTS = 20
_PAUSE_S = 0.01
"""A command that looks for a server holds a shared lock for microseconds: no reason to refuse a server."""


@dataclass(frozen=True)
class RunningServer:
    """Who holds the lock. `url` is where it is reached from this machine."""

    pid: int
    url: str


@contextmanager
def acquire(data_folder: Path, url: str) -> Iterator[None]:
    """Be the server of this data folder (made if there is none) until the block ends.

    Raises `SettingsInvalid` where another server holds the folder, or it cannot be written to.
    """
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsInvalid(
            f"The data folder {data_folder} cannot be used: {error.strerror}. --data-dir or DATA_FOLDER names another."
        ) from error
    try:
        if not _lock(descriptor, fcntl.LOCK_EX, _ATTEMPTS):
            other = _read(descriptor)
            who = f"the server at {other.url} (process {other.pid})" if other else "a server that is just starting"
            raise SettingsInvalid(
                f"The data folder {data_folder} is in use by {who}. Stop that one first, or name another folder with "
                "--data-dir."
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked this very moment may still share it
    finally:
        os.close(descriptor)


def running_server(data_folder: Path) -> str | None:
    """URL of the server that runs on this data folder, or None. Raises as `holder`."""
    found = holder(data_folder)
    return None if found is None else found.url


def holder(data_folder: Path) -> RunningServer | None:
    """The server that runs on this data folder, or None.

    Raises `SettingsInvalid` where that cannot be told: the file may not be read, or the server is in its first moment.
    """
    try:
        descriptor = os.open(data_folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsInvalid(
            f"Whether a server runs on {data_folder} cannot be told: {error.strerror}. Use the account that it runs as."
        ) from error
    try:
        if _lock(descriptor, fcntl.LOCK_SH, attempts=1):
            return None
        found = _read(descriptor)
    finally:
        os.close(descriptor)
    if found is None:
        raise SettingsInvalid(f"A server is just starting on {data_folder}; try again in a moment.")
    return found


def local_url(bind_host: str, port: int) -> str:
    """Where a server that listens on `bind_host` is reached from this machine: loopback, if it listens there too."""
    try:
        address = ip_address(bind_host)
    except ValueError:
        return f"http://{bind_host}:{port}"
    if address.is_unspecified:
        address = ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://[{address}]:{port}" if isinstance(address, IPv6Address) else f"http://{address}:{port}"


def _lock(descriptor: int, kind: int, attempts: int) -> bool:
    for attempt in range(attempts):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < attempts:
                time.sleep(_PAUSE_S)
        else:
            return True
    return False


def _read(descriptor: int) -> RunningServer | None:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return RunningServer(pid=int(content["pid"]), url=str(content["url"]))
    except (ValueError, KeyError, TypeError):
        return None
