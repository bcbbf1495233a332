"""`annotator-companion serve`: the node, with its small server, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from access import ASGIApp
from annotator_companion.node import Annotator
from annotator_companion.settings import AnnotatorSettings
from annotator_companion.tools import tools
from companions import serving
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
@click.option("--loop", "loop_host", metavar="HOST", help="The Learning Loop, with scheme and port. [LOOP_HOST]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 means every network. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port to listen on. [8044]")
@click.option("--name", metavar="NAME", help="How the Loop calls this annotator. [the name of this machine]")
@click.option("--tools", "tool_names", metavar="NAMES", help="Tools, comma separated. [grabcut,livewire]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for all that is kept.")
def serve(
    loop_host: str | None,
    host: str | None,
    port: int | None,
    name: str | None,
    tool_names: str | None,
    data_dir: Path | None,
) -> None:
    """Run an annotator for a Learning Loop until it is told to stop (Ctrl-C).

    \b
    annotator-companion serve --loop http://localhost:8014
    LOOP_HOST=learning-loop.ai LOOP_USERNAME=... LOOP_PASSWORD=... annotator-companion serve

    It answers what people do with the mouse on the Loop's own pages, and shows on http://localhost:8044 how quickly.
    """
    from annotator_companion import page  # NiceGUI takes a second, which nobody waits for who asks for help

    overrides = {
        "loop_host": loop_host,
        "bind_host": host,
        "port": port,
        "node_name": name,
        "annotator_tools": None if tool_names is None else [each.strip() for each in tool_names.split(",")],
        "data_folder": data_dir,
    }
    settings = AnnotatorSettings.load(os.environ, overrides)
    serving.run(lambda ending: make_app(settings, ending, page.mount), settings)
