"""Puts the one page of a companion onto its application, in the look of the dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Response

BuildContent = Callable[[], Awaitable[None]]


def page(title: str, build: BuildContent) -> Callable[[FastAPI], None]:
    """A `BuildPage` for `companions.server.create_app`: serves what `build` makes for each visitor at `/`.

    NiceGUI is imported when it is called and not before: without a page a companion starts in a fraction of the time.
    """

    def mount(app: FastAPI) -> None:
        from nicegui import app as nicegui
        from nicegui import ui

        @ui.page("/")
        async def content() -> None:
            await build()

        nicegui.config.quasar_config["loadingBar"]["skipHijack"] = True  # what is sent shows its own way, with words
        ui.run_with(
            app,
            title=title,
            show_welcome_message=False,
            dark=None,
            language="en-US",
            tailwind=False,  # the theme is our own
            binding_refresh_interval=None,  # nothing is polled
            message_history_length=200,
            reconnect_timeout=20.0,
        )

    return mount


def picture(jpeg: bytes | None) -> Response:
    """A picture for a page, under an address that never shows another one; 404 where there is none."""
    if jpeg is None:
        return Response(status_code=404)
    headers = {"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(jpeg, media_type="image/jpeg", headers=headers)
