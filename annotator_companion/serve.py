"""`annotator-companion serve`: the node, with its small server, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
import cv2

from access import ASGIApp
from annotator_companion.node import Annotator
from annotator_companion.settings import AnnotatorSettings
from annotator_companion.tools import tools
from companions import serving
from companions.options import serve_options
from companions.server import BuildPage, create_app
from models.files import FILE_SYSTEM
from models.identity import UUIDS_FILE, node_uuid


def make_app(
    settings: AnnotatorSettings,
    ending: serving.Ending,
    build_page: Callable[[Annotator], BuildPage] | None = None,
) -> ASGIApp:
    """The whole annotator as one ASGI application. Blocks: models are loaded. Raises `DetectorApplianceError`."""
    annotator = Annotator(
        settings,
        tools(settings.tool_names, settings.prompt_encoder, settings.prompt_decoder),
        node_uuid(settings.data_folder / UUIDS_FILE, settings.node_name, FILE_SYSTEM),
        settings.loop_client(),
        restart=ending.restart,
    )
    return create_app(settings, annotator, build_page=None if build_page is None else build_page(annotator))


@click.command()
@serve_options("annotator", 8044)
@click.option("--tools", "tool_names", metavar="NAMES", help="Tools, comma separated. [grabcut,livewire]")
def serve(tool_names: str | None, **common: Any) -> None:
    """Run an annotator for a Learning Loop until it is told to stop (Ctrl-C).

    \b
    annotator-companion serve --loop http://localhost:8014
    LOOP_HOST=learning-loop.ai LOOP_USERNAME=... LOOP_PASSWORD=... annotator-companion serve

    It answers what people do with the mouse on the Loop's own pages, and shows on http://localhost:8044 how quickly.
    """
    from annotator_companion import page  # NiceGUI takes a second, which nobody waits for who asks for help

    names = None if tool_names is None else [each.strip() for each in tool_names.split(",")]
    settings = AnnotatorSettings.load(os.environ, {**common, "annotator_tools": names})
    cv2.setNumThreads(1)  # pages are answered side by side: threads within one would only wait for each other
    serving.run(lambda ending: make_app(settings, ending, page.mount), settings)
