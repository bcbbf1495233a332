"""Puts the pages onto the box's application. Called last: it mounts `/` and wraps the lifespan."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from nicegui import app as nicegui
from nicegui import ui

from ui.pages import live, models, outbox, overview, settings, system
from ui.ports import Box

KEPT_BY_BROWSERS = "private, max-age=3600, immutable"
"""A picture never changes under its address. Private: a proxy in between serves other people, too."""


_LEAVING = Path(__file__).with_name("leaving.js").read_text("utf-8")


def run_with(app: FastAPI, box: Box) -> None:
    """Serve the pages from `/`."""

    @ui.page("/")
    async def overview_page() -> None:
        await overview.build(box)

    @ui.page("/live")
    async def live_page() -> None:
        await live.build(box)

    @ui.page("/models")
    async def models_page() -> None:
        await models.build(box)

    @ui.page("/outbox")
    async def outbox_page() -> None:
        await outbox.build(box)

    @ui.page("/system")
    async def system_page() -> None:
        await system.build(box)

    @ui.page("/settings")
    async def settings_page() -> None:
        await settings.build(box)

    async def seen(request: Request) -> Response:
        return _picture(await box.seeing.jpeg(request.path_params["kind"], request.path_params["key"]))

    async def waiting(request: Request) -> Response:
        return _picture(await box.outbox.jpeg(request.path_params["item_id"], request.path_params["size"] == "small"))

    # Not among the pages: their middleware costs several times what the picture does, and while cameras run there are many.
    app.add_route("/pictures/seen/{kind}/{key}", seen, include_in_schema=False)
    app.add_route("/pictures/outbox/{size}/{item_id}", waiting, include_in_schema=False)

    nicegui.config.quasar_config["loadingBar"]["skipHijack"] = True  # what is sent shows its own way, with words
    ui.add_head_html(f"<script>{_LEAVING}</script>", shared=True)
    ui.run_with(
        app,
        title="Detector appliance",
        show_welcome_message=False,
        dark=None,
        language="en-US",
        tailwind=False,  # the theme is our own: a phone need not make one in its browser
        binding_refresh_interval=None,  # nothing is polled
        message_history_length=200,
        reconnect_timeout=20.0,
    )


def _picture(jpeg: bytes | None) -> Response:
    if jpeg is None:
        return Response(status_code=404)
    return Response(
        jpeg, media_type="image/jpeg", headers={"Cache-Control": KEPT_BY_BROWSERS, "X-Content-Type-Options": "nosniff"}
    )
