"""Puts the one page of a companion onto its application, in the look of the dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI

BuildContent = Callable[[], Awaitable[None]]


def page(title: str, build: BuildContent) -> Callable[[FastAPI], None]:
    """A `BuildPage` for `companions.server.create_app`: serves what `build` makes for each visitor at `/`.

    NiceGUI is imported when it is called and not before: without a page a companion starts in a fraction of the time.
    """

    def mount(app: FastAPI) -> None:
        from nicegui import ui

        @ui.page("/")
        async def content() -> None:
            await build()

        ui.run_with(
            app,
            title=title,
            show_welcome_message=False,
            dark=None,
            language="en-US",
            tailwind=False,
            binding_refresh_interval=None,  # nothing is polled
            message_history_length=200,
            reconnect_timeout=20.0,
        )

    return mount
