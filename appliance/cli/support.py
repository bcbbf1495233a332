"""`appliance support`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from appliance.cli.doctor import at_folder
from appliance.cli.place import Place, with_place
from appliance.system.support import packed
from models.errors import StorageRefused


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_place
def support(place: Place, file: Path) -> None:
    """Write a support bundle to FILE: a zip for whoever helps you.

    \b
    appliance support robot-7.zip

    Settings, what is wrong, versions, and of a running box its log and metrics. Passwords and keys are taken out, and no
    picture is in it.
    """
    server = place.server()
    if server is None:
        data = packed(place.settings, asyncio.run(at_folder(place.settings)))
    else:
        with server:
            data = server.support()
    path = place.surroundings.working_directory / file
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)
    except OSError as error:
        raise StorageRefused(f"{path} cannot be written: {error.strerror}.") from error
    click.echo(f"{path} ({len(data) / 1000:.0f} kB). Look into it before you give it away.")
