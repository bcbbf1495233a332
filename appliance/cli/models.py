"""`appliance models`: which models are on this box, and which of them serves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.folder import Folder
from appliance.cli.place import Place, with_place
from appliance.cli.table import table
from models.errors import InvalidInput


@click.group()
def models() -> None:
    """List, add, choose and remove the models on this box.

    \b
    appliance models list
    appliance models add my_model.zip
    appliance models use 1.4
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_place
def list_models(place: Place, as_json: bool) -> None:
    """List the models on this box; the one that serves has a star.

    \b
    appliance models list
    appliance models list --json
    """
    server = place.server()
    if server is None:
        found = Folder(place.settings).listing()
    else:
        with server:
            found = server.models()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (
            "*" if model["current"] else "",
            model["version"],
            f"{model['organization']}/{model['project']}",
            model["format"],
            f"{model['size_bytes'] / 1e6:.1f} MB",
            "comes with the program" if model["read_only"] else "" if model["selectable"] else "of another project",
        )
        for model in found["models"]
    ]
    click.echo(table(("", "version", "model", "format", "size", ""), rows, right=(4,)))
    for broken in found["broken"]:
        click.echo(f"Not a model: {broken['folder']}: {broken['reason']}", err=True)
    for foreign in found.get("foreign", ()):
        click.echo(f"Left by learning-loop-node: models/{foreign['folder']}: {foreign['reason']}", err=True)


@models.command()
@click.argument("path", metavar="ZIP", type=click.Path(path_type=Path))
@with_place
def add(place: Place, path: Path) -> None:
    """Add a model: a zip of model.json and its weights.

    \b
    appliance models add my_model.zip
    """
    path = place.surroundings.working_directory / path
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.")
    server = place.server()
    if server is None:
        model: dict[str, Any] = Folder(place.settings).add(path).identity._asdict()
    else:
        size = path.stat().st_size
        with server, click.progressbar(length=size, label="Sending", file=sys.stderr) as bar:
            model = server.add_model(path, bar.update)
    click.echo(
        f"Added version {model['version']} of {model['organization']}/{model['project']}. "
        f"To have it serve: appliance models use {model['version']}"
    )


@models.command()
@click.argument("version")
@with_place
def use(place: Place, version: str) -> None:
    """Have a VERSION serve that is on this box; `follow_loop` and `pause` are understood as well.

    \b
    appliance models use 1.4
    appliance models use my-company/bottles/1.4     where several projects have a 1.4
    appliance models use follow_loop

    Without a running server it is noted for the next start.
    """
    server = place.server()
    if server is None:
        Folder(place.settings).choose_version(version)
        click.echo(f"Noted for the next start: {version}.")
        return
    with server:
        server.choose_version(version)
        if version in {"follow_loop", "pause"}:
            click.echo(f"The mode is {version} now.")
            return
        click.echo(f"Loading version {version}; the model that serves goes on until it is ready.", err=True)
        about = server.wait_for_version(place.settings.load_deadline_s)
        click.echo(f"Version {about['model_info']['version']} serves ({about.get('runtime')}).")


@models.command()
@click.argument("version")
@with_place
def remove(place: Place, version: str) -> None:
    """Remove a VERSION from this box; not the one that serves.

    \b
    appliance models remove 1.3
    """
    server = place.server()
    if server is None:
        Folder(place.settings).remove(version)
    else:
        with server:
            server.remove_model(version)
    click.echo(f"Version {version} is removed.")
