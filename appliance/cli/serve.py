"""`appliance serve`."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

import click

from appliance.cli.place import Place, with_place
from appliance.lock import running_server
from models.errors import SettingsInvalid


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 means every network. [127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port to listen on. [8004]")
@click.option("--model", metavar="VERSION|BUNDLE", help="What to serve: a version on this box, or a folder or zip.")
@with_place
def serve(place: Place, host: str | None, port: int | None, model: str | None) -> None:
    """Run the appliance until it is told to stop (Ctrl-C).

    \b
    appliance serve
    appliance serve --host 0.0.0.0 --port 80 --data-dir /srv/detector
    appliance serve --model 1.4
    appliance serve --model my_model.zip

    It listens on this machine alone unless --host says otherwise. A bundle given as --model is taken into the data
    folder first. `appliance settings` shows all that can be set.
    """
    from appliance.serving import serve as run

    place = place.overriding(bind_host=host, port=port)
    settings = place.settings
    if model is not None and running_server(settings.data_folder) is None:
        settings = place.overriding(version_control_default=_to_serve(model, place)).load()
    stop_on_sigterm()
    try:
        run(settings, place.load)  # says so where another server has the folder
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


def stop_on_sigterm() -> None:
    """Being told to stop is no failure: everything is closed and the exit status is 0, as after Ctrl-C."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _to_serve(model: str, place: Place) -> str:
    """The model as the setting names it; a bundle is put into the store for that.

    Raises `UnknownVersion`, or `SettingsInvalid` for a model that these settings never let serve.
    """
    from appliance.cli.folder import Folder

    folder = Folder(place.settings)
    path = place.surroundings.working_directory / model
    found = folder.add(path) if path.exists() else folder.find(model)
    name = "/".join(found.identity)
    if not folder.may_serve(found):
        raise SettingsInvalid(
            f"{name} is on this box now, but the settings loop_organization, loop_project and model_format keep it from "
            "serving; they must name the model's own, or nothing."
        )
    return name
