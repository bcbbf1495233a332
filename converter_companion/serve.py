"""`converter-companion serve`: the node, with its small server, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from access import ASGIApp
from companions import serving
from companions.options import serve_options
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
@serve_options("converter", 8034)
@click.option("--pairs", "wanted", metavar="SOURCE:TARGET,…", help="What to convert. [CONVERTER_PAIRS]")
def serve(wanted: str | None, **common: Any) -> None:
    """Run a converter for a Learning Loop until it is told to stop (Ctrl-C).

    \b
    converter-companion serve --loop http://localhost:8014

    Each minute it looks in every project that it may see for models that lack a format, makes it, and uploads it. What
    came of it is shown on http://localhost:8034.
    """
    from converter_companion import page  # NiceGUI takes a second, which nobody waits for who asks for help

    names = None if wanted is None else [each.strip() for each in wanted.split(",") if each.strip()]
    settings = ConverterSettings.load(os.environ, {**common, "converter_pairs": names})
    for source, target in settings.pairs:
        pairs.converter(source, target)  # a pair that nobody can convert is told now, not in a log each minute
    serving.run(lambda ending: make_app(settings, ending, page.mount), settings)
