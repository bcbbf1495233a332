"""`appliance backup` and `appliance restore`."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.place import Place, with_place
from appliance.lock import acquire, local_url
from appliance.system import backup as making
from appliance.system import restore as restoring
from appliance.system.contents import MODELS, OUTBOX
from appliance.system.findings import MEGABYTE
from appliance.system.restore import Preview
from models.errors import InvalidInput


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--models", is_flag=True, help="The models, too.")
@click.option("--outbox", is_flag=True, help="The pictures that wait, too.")
@with_place
def backup(place: Place, file: Path, models: bool, outbox: bool) -> None:
    """Write what this box has become to FILE, be a server running or not.

    \b
    appliance backup robot-7.tar
    appliance backup --models --outbox everything.tar

    That is: what was changed on the dashboard, which model serves, what failed, its uuid in the Loop, its password and API
    keys (as hashes). FILE lets people in where it is restored: keep it as you keep a key.
    """
    path = place.surroundings.working_directory / file
    parts = [part for part, wanted in ((MODELS, models), (OUTBOX, outbox)) if wanted]
    data = place.settings.data_folder
    if path.resolve().is_relative_to(data.resolve()):
        raise InvalidInput(f"{path} lies in the data folder itself; a backup belongs somewhere else.")
    made = making.make(data, path, parts)
    click.echo(
        f"{path}: {made.files} files, {made.bytes / MEGABYTE:.1f} MB ({', '.join(made.state) or 'no state yet'})"
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_place
def restore(place: Place, file: Path, yes: bool) -> None:
    """Put a backup back, whole or not at all. No server may run on the data folder.

    \b
    appliance restore robot-7.tar

    It is unpacked and checked first, then says what it will do, and asks. State is replaced; models and pictures that are
    here already stay. A power cut in the middle is made good at the next start.
    """
    settings = place.settings
    path, data = place.surroundings.working_directory / file, settings.data_folder
    with acquire(data, local_url(settings.bind_host, settings.port)):
        if restoring.finish(data):
            click.echo("An earlier restore that was cut off has been finished.", err=True)
        preview = restoring.stage(data, path, floor=settings.min_free_disk_mb * MEGABYTE)
        _tell(preview)
        if not yes and not click.confirm("Restore it?", default=False):
            restoring.discard(data)
            raise InvalidInput("Nothing was restored.")
        restoring.decide(data)
    click.echo("Restored.")


def _tell(preview: Preview) -> None:
    click.echo(f"Replaces: {', '.join(preview.replaced) or 'nothing'}")
    click.echo(f"New: {', '.join(preview.new) or 'nothing'}")
    click.echo(f"Models: {preview.models} to be added, {preview.models_there} here already")
    click.echo(f"Pictures: {preview.pictures} to be added, {preview.pictures_there} here already")
