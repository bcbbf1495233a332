"""Runs a companion: one per data folder, until it is told to stop or to start anew."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import uvicorn

from access import ASGIApp
from companions.settings import CompanionSettings
from models.errors import SettingsInvalid
from models.restarting import begin_anew

log = logging.getLogger(__name__)

PATIENCE_S = 5
"""Requests under way have so long to end when the server stops."""

_CHATTY = ("uvicorn.access", "httpx", "httpcore", "socketio", "engineio", "PIL", "asyncio", "multipart")


class Ending:
    """How a companion ends its own program, in good order. Both methods return at once."""

    def __init__(self) -> None:
        self.restart_wanted = False
        self.server: uvicorn.Server | None = None

    def stop(self) -> None:
        """End it."""
        if self.server is not None:
            self.server.should_exit = True

    def restart(self) -> None:
        """End it, and have a new one take its place."""
        self.restart_wanted = True
        self.stop()


def run(make_app: Callable[[Ending], ASGIApp], settings: CompanionSettings) -> None:
    """Serve until SIGTERM, Ctrl-C, or the companion ends itself. `make_app` is called when the data folder is ours.

    Does not return where a restart is wanted: another process takes the place of this one, under the same number.
    Raises `SettingsInvalid` where another process has the data folder, or the server does not start.
    """
    _configure_logs(settings.log_level)
    ending = Ending()
    signal.signal(signal.SIGTERM, _interrupt)  # until the server takes the signal over, and after it
    with sole_user_of(settings):
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(ending),
                host=settings.bind_host,
                port=settings.port,
                proxy_headers=False,  # who asks is decided in `access.py`
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=PATIENCE_S,
            )
        )
        ending.server = server
        try:
            server.run()
        except KeyboardInterrupt:
            log.info("stopped")
        if not server.started:
            raise SettingsInvalid(f"The {settings.companion} did not start; the lines above say why.")
    if ending.restart_wanted:
        begin_anew()


@contextmanager
def sole_user_of(settings: CompanionSettings) -> Iterator[None]:
    """Hold the data folder (made if there is none) until the block ends; the kernel lets it go however the process ends.

    Raises `SettingsInvalid` where another process holds it, or it cannot be written to.
    """
    folder = settings.data_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / f"{settings.companion}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsInvalid(
            f"The data folder {folder} cannot be used: {error.strerror}. DATA_FOLDER names another."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsInvalid(
                f"The data folder {folder} is in use by another {settings.companion}. Stop that one first, or name another "
                "folder with DATA_FOLDER."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _configure_logs(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
