"""`trainer-companion serve`: the node, with its small server, until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from companions.options import serve_options

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
@serve_options("trainer", 8024)
def serve(**common: Any) -> None:
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

    settings = TrainerSettings.load(os.environ, common)
    serving.run(lambda ending: make_app(settings, ending, page.mount), settings)
