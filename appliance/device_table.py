"""The table of the device: its node, its API and its dashboard; and what strangers are told."""

from __future__ import annotations

from access import AccessTable, Right, WayIn

WAY_IN = WayIn(
    "Otherwise an API key is needed: `appliance keys create NAME` makes one; send it as "
    "`Authorization: Bearer KEY`, as `X-API-Key`, or over Socket.IO as auth={'api_key': KEY}.",
    "Bearer",
)

DEVICE_TABLE = AccessTable(
    routes={
        "GET /healthz": Right.OPEN,
        "GET /readyz": Right.OPEN,
        "GET /docs": Right.OPEN,
        "GET /docs/oauth2-redirect": Right.OPEN,
        "GET /redoc": Right.OPEN,
        "GET /openapi.json": Right.OPEN,
        "GET /static-offline-docs/*": Right.OPEN,
        "GET /login": Right.OPEN,
        "GET /claim": Right.OPEN,
        "GET /favicon.ico": Right.OPEN,
        "GET /api/v1/login": Right.OPEN,
        "POST /api/v1/login": Right.OPEN,
        "POST /api/v1/logout": Right.OPEN,
        "POST /api/v1/claim": Right.OPEN,
        "POST /detect": Right.DETECT,
        "GET /about": Right.DETECT,
        "GET /model_version": Right.DETECT,
        "GET /outbox_mode": Right.DETECT,
        "GET /operation_mode": Right.DETECT,
        "GET /metrics": Right.DETECT,
        "POST /upload": Right.CHANGE_OR_SEE,
        "PUT /model_version": Right.CHANGE_OR_SEE,
        "PUT /outbox_mode": Right.CHANGE_OR_SEE,
        "PUT /operation_mode": Right.CHANGE_OR_SEE,
        "PUT /debug_logging": Right.CHANGE_OR_SEE,
        "PUT /socketio": Right.CHANGE_OR_SEE,
        "POST /reset": Right.CHANGE_OR_SEE,
        "GET /api/v1/update": Right.DETECT,
        "GET /api/v1/update_lock": Right.DETECT,
        "GET /api/v1/loop": Right.DETECT,
        "* /ws/*": Right.OPEN,  # the transport alone: a key may come with it, and each event is checked by its name
        "* /api/v1/*": Right.CHANGE_OR_SEE,
        "GET /": Right.CHANGE_OR_SEE,
        "GET /live": Right.CHANGE_OR_SEE,
        "GET /models": Right.CHANGE_OR_SEE,
        "GET /outbox": Right.CHANGE_OR_SEE,
        "GET /system": Right.CHANGE_OR_SEE,
        "GET /settings": Right.CHANGE_OR_SEE,
        "GET /pictures/*": Right.CHANGE_OR_SEE,
        "* /_nicegui/*": Right.CHANGE_OR_SEE,  # beside scripts it serves pictures that pages show
        "* /_nicegui_ws/*": Right.CHANGE_OR_SEE,
    },
    events={
        "detect": Right.DETECT,
        "batch_detect": Right.DETECT,
        "info": Right.DETECT,
        "about": Right.DETECT,
        "get_model_version": Right.DETECT,
        "get_outbox_mode": Right.DETECT,
        "get_update": Right.DETECT,
        "get_update_lock": Right.DETECT,
        "set_update_lock": Right.CHANGE_OR_SEE,
        "upload": Right.CHANGE_OR_SEE,
        "set_model_version_mode": Right.CHANGE_OR_SEE,
        "set_outbox_mode": Right.CHANGE_OR_SEE,
        "soft_reload": Right.CHANGE_OR_SEE,
    },
)
"""The routes and events of a detector node, of this box, and of its dashboard."""
