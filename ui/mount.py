"""Puts the pages onto the box's application. Called last: it mounts `/` and wraps the lifespan."""

from __future__ import annotations

from fastapi import FastAPI
from nicegui import ui

from ui.pages import overview
from ui.ports import Box


def run_with(app: FastAPI, box: Box) -> None:
    """Serve the pages from `/`."""

    @ui.page("/")
    def overview_page() -> None:
        overview.build(box)

    ui.run_with(app, title="Detector appliance", show_welcome_message=False)
