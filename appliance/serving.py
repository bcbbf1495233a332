"""Runs the box: one server per data folder, until it is told to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable

import uvicorn

from appliance import lock, logs
from appliance.events import MAX_MESSAGE
from appliance.settings import Settings

PATIENCE = 5
"""Seconds that requests under way have to end when the server stops."""


def serve(settings: Settings, reread: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or Ctrl-C; `reread` reads the settings again when somebody asks for a reload.

    Raises `SettingsInvalid` if another server has the data folder.
    """
    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    url = lock.local_url(settings.bind_host, settings.port)
    with lock.acquire(settings.data_folder, url):
        # Imports the dashboard's library, a second's work: not before it is known that this server may run.
        from appliance.app import create_app

        config = uvicorn.Config(
            create_app(settings, reread),
            host=settings.bind_host,
            port=settings.port,
            ws_max_size=MAX_MESSAGE,
            proxy_headers=False,  # who asks is decided in one place, `access.py`
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=PATIENCE,
        )
        uvicorn.Server(config).run()
