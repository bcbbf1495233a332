"""`converter-companion serve`: the node, with its small server, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from access import ASGIApp
from companions import serving
from companions.server import BuildPage, create_app
from converter_companion import pairs
from converter_companion.node import ConverterNode
from converter_companion.settings import ConverterSettings


def make_app(
    settings: ConverterSettings,
    ending: serving.Ending,
    build_page: Callable[[ConverterNode], BuildPage] | None = None,
) -> ASGIApp:
    """The whole converter as one ASGI application."""
    node = ConverterNode(settings, restart=ending.restart)
    return create_app(settings, node, build_page=None if build_page is None else build_page(node))


@click.command()
@click.option("--loop", "loop_host", metavar="HOST", help="The Learning Loop, with scheme and port. [LOOP_HOST]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 means every network. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port to listen on. [8034]")
@click.option("--name", metavar="NAME", help="How the Loop calls this converter. [the name of this machine]")
@click.option("--pairs", "wanted", metavar="SOURCE:TARGET,…", help="What to convert. [CONVERTER_PAIRS]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for all that is kept.")
def serve(
    loop_host: str | None,
    host: str | None,
    port: int | None,
    name: str | None,
    wanted: str | None,
    data_dir: Path | None,
) -> None:
    """Run a converter for a Learning Loop until it is told to stop (Ctrl-C).

    \b
    converter-companion serve --loop http://localhost:8014

    Each minute it looks in every project that it may see for models that lack a format, makes it, and uploads it. What
    came of it is shown on http://localhost:8034.
    """
    from converter_companion import page  # NiceGUI takes a second, which nobody waits for who asks for help

    overrides = {
        "loop_host": loop_host,
        "bind_host": host,
        "port": port,
        "node_name": name,
        "converter_pairs": None if wanted is None else [each.strip() for each in wanted.split(",") if each.strip()],
        "data_folder": data_dir,
    }
    settings = ConverterSettings.load(os.environ, overrides)
    for source, target in settings.pairs:
        pairs.converter(source, target)  # a pair that nobody can convert is told now, not in a log each minute
    serving.run(lambda ending: make_app(settings, ending, page.mount), settings)
