"""Runs the box: one server per data folder, until it is told to stop."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable

import uvicorn

from access import ASGIApp
from appliance import lock, logs
from appliance.events import MAX_MESSAGE
from appliance.listening import configured
from appliance.settings import Settings
from appliance.system import restore
from models.restarting import begin_anew

log = logging.getLogger(__name__)


class Restart:
    """Ends the server in good order when it is called. Whoever ran it then sees that another one is `wanted`."""

    def __init__(self) -> None:
        self.wanted = False
        self.server: uvicorn.Server | None = None

    def __call__(self) -> None:
        """Returns at once; requests under way have their time to end."""
        self.wanted = True
        if self.server is not None:
            self.server.should_exit = True


def serve(settings: Settings, reread: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or Ctrl-C; `reread` reads the settings again when somebody asks for a reload.

    Raises `SettingsInvalid` if another server has the data folder.
    """
    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    restart = Restart()
    url = lock.local_url(settings.bind_host, settings.port)
    with lock.acquire(settings.data_folder, url):
        if restore.finish(settings.data_folder):
            log.warning("a restore that was cut off has been finished")
            settings = reread()
        app = _made(settings, reread, restart)
        config = configured(app, settings.bind_host, settings.port, MAX_MESSAGE)
        restart.server = uvicorn.Server(config)
        restart.server.run()
    if restart.wanted:
        begin_anew()


def _made(settings: Settings, reread: Callable[[], Settings], restart: Restart) -> ASGIApp:
    """The application, with all its libraries: a second's work, so not before it is known that this server may run.

    What is there then stays. Looking through all of it for garbage would take a tenth of a second each time, in which
    nothing is answered; so it is left out of that for good.
    """
    gc.disable()
    try:
        from appliance.app import create_app

        app = create_app(settings, reread, restart)
        gc.freeze()
    finally:
        gc.enable()
    return app
