"""The options that `serve` of every companion has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def serve_options(companion: str, port: int) -> Callable[[Command], Command]:
    """Decorate the function of a `click.command`: it is given them by the names of the fields of `CompanionSettings`, None
    where somebody does not say. `companion` and `port` are only shown."""
    options = (
        click.option(
            "--loop", "loop_host", metavar="HOST", help="The Learning Loop, with scheme and port. [LOOP_HOST]"
        ),
        click.option(
            "--host",
            "bind_host",
            metavar="ADDRESS",
            help="Address to listen on; 0.0.0.0 means every network. [127.0.0.1]",
        ),
        click.option("--port", type=click.IntRange(0, 65535), help=f"TCP port to listen on. [{port}]"),
        click.option(
            "--name",
            "node_name",
            metavar="NAME",
            help=f"How the Loop calls this {companion}. [the name of this machine]",
        ),
        click.option(
            "--data-dir",
            "data_folder",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for all that is kept.",
        ),
    )

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated
