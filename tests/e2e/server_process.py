"""The appliance as a process of its own: started on a free port, watched, ended, its log kept."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

START_SECONDS = 60.0
STOP_SECONDS = 20.0
HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables that a server under test may see: no LOOP_HOST of the person who runs the tests."""


class ServerFailedError(AssertionError):
    """The server did not start, or did not end as it should; the message ends with its log."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server that is started by `command`, listens on `port` of loopback, and writes its log to `log`."""

    def __init__(
        self, command: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = port
        self.log = log
        self.command = list(command)
        self.environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ} | dict(
            environment or {}
        )
        self.started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the server, which is the root of its process tree."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it and return at once. `started_at` is the time of that, on the monotonic clock."""
        with self.log.open("ab") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)

    def wait_until(self, path: str, timeout: float = START_SECONDS) -> None:
        """Return when `GET path` answers 200.

        Raises `ServerFailedError` if the process ends first, or after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise ServerFailedError(f"The server ended while it started.\n{self.log_text()}")
            if self._answers(path):
                return
            time.sleep(0.05)
        raise ServerFailedError(f"GET {path} did not answer 200 within {timeout:.0f} s.\n{self.log_text()}")

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask it to end, as systemd would.

        Raises `ServerFailedError` if it lingers, ends with an error, or leaves children.
        """
        assert self._process is not None, "the server was not started"
        if self._process.poll() is not None:
            raise ServerFailedError(f"It had ended by itself with {self._process.returncode}.\n{self.log_text()}")
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailedError(f"The server did not end within {STOP_SECONDS:.0f} s.\n{self.log_text()}") from None
        _, left = psutil.wait_procs(children, timeout=5)
        for child in left:
            child.kill()
        if left:
            raise ServerFailedError(f"The server left {len(left)} of its processes running.\n{self.log_text()}")
        if code not in (0, -signal.SIGTERM):
            raise ServerFailedError(f"The server ended with {code}.\n{self.log_text()}")

    def kill(self) -> None:
        """End it and all its children, whatever they do."""
        if self._process is None or self._process.poll() is not None:
            return
        family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for member in family:
            if member.is_running():
                member.kill()
        self._process.wait()

    def log_text(self) -> str:
        """The end of what the server has written."""
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""


def appliance_process(
    data_folder: Path, *, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> ServerProcess:
    """`appliance serve` on a free port of loopback with the data folder `data_folder`; not started yet."""
    port = free_port()
    data_folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "appliance", "serve", "--host", "127.0.0.1", "--port", str(port)]
    return ServerProcess(
        [*command, "--data-dir", str(data_folder), *arguments],
        port=port,
        log=data_folder.parent / f"{data_folder.name}.log",
        environment=environment,
    )


def loop_process(data_folder: Path, *, arguments: Sequence[str] = ()) -> ServerProcess:
    """`appliance loop` on a free port of loopback with the data folder `data_folder`; not started yet."""
    port = free_port()
    data_folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "appliance", "loop", "--port", str(port), "--data-dir", str(data_folder)]
    return ServerProcess([*command, *arguments], port=port, log=data_folder.parent / f"{data_folder.name}.log")
