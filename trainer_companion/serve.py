"""`trainer-companion serve`: the node, with its small server, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fastapi import FastAPI

    from access import ASGIApp
    from companions.serving import Ending
    from trainer_companion.node import Trainer
    from trainer_companion.settings import TrainerSettings


def make_app(
    settings: TrainerSettings,
    ending: Ending,
    build_page: Callable[[Trainer], Callable[[FastAPI], None]] | None = None,
) -> ASGIApp:
    """The whole trainer as one ASGI application."""
    from companions.server import create_app
    from trainer_companion import rest
    from trainer_companion.node import Trainer

    trainer = Trainer(settings, restart=ending.restart, stop=ending.stop)
    return create_app(
        settings,
        trainer,
        routers=[rest.router(trainer)],
        build_page=None if build_page is None else build_page(trainer),
    )


@click.command()
@click.option("--loop", "loop_host", metavar="HOST", help="The Learning Loop, with scheme and port. [LOOP_HOST]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 means every network. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port to listen on. [8024]")
@click.option("--name", metavar="NAME", help="How the Loop calls this trainer. [the name of this machine]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for all that is kept.")
def serve(loop_host: str | None, host: str | None, port: int | None, name: str | None, data_dir: Path | None) -> None:
    """Run a trainer for a Learning Loop until it is told to stop (Ctrl-C).

    \b
    trainer-companion serve --loop http://localhost:8014
    LOOP_HOST=learning-loop.ai LOOP_USERNAME=... LOOP_PASSWORD=... trainer-companion serve

    It waits for people to begin a training in the Loop, and shows on http://localhost:8024 how it goes. A training that was
    under way when it ended is gone on with.
    """
    from companions import serving
    from trainer_companion import page
    from trainer_companion.settings import TrainerSettings

    overrides = {"loop_host": loop_host, "bind_host": host, "port": port, "node_name": name, "data_folder": data_dir}
    settings = TrainerSettings.load(os.environ, overrides)
    serving.run(lambda ending: make_app(settings, ending, page.mount), settings)
