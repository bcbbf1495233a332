"""How every server of this program listens, that of the box and that of the embedded loop."""

from __future__ import annotations

import uvicorn

from access import ASGIApp

PATIENCE = 5
"""Seconds that requests under way have to end when the server stops."""


def configured(app: ASGIApp, host: str, port: int, max_message: int) -> uvicorn.Config:
    """For a server of `app` on one port; `max_message` is the most bytes that a WebSocket message may have."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        ws_max_size=max_message,
        proxy_headers=False,  # who asks is decided in one place, `access`
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=PATIENCE,
    )
