"""`appliance keys`: who may come from outside."""

from __future__ import annotations

import click

from appliance.api_keys import FILE_NAME, ApiKeys
from appliance.cli.place import Place, with_place
from appliance.cli.table import table


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    Whoever comes from outside the trusted networks needs one for whatever changes something or shows pictures:

    \b
    curl -H "X-API-Key: KEY" -X PUT -d pause http://DEVICE:8004/model_version
    """


@keys.command()
@click.argument("name")
@with_place
def create(place: Place, name: str) -> None:
    """Make a key called NAME and print it, this once.

    \b
    appliance keys create warehouse
    """
    key = _keys(place).create(name)
    click.echo(key)
    click.echo("This is shown only now. Send it as X-API-Key, or as Authorization: Bearer.", err=True)


@keys.command("list")
@with_place
def list_keys(place: Place) -> None:
    """List the keys by name.

    \b
    appliance keys list
    """
    found = _keys(place).list()
    if not found:
        click.echo("There are no API keys. `appliance keys create NAME` makes one.", err=True)
        return
    click.echo(table(("name", "made"), [(key.name, key.created) for key in found]))


@keys.command()
@click.argument("name")
@with_place
def revoke(place: Place, name: str) -> None:
    """Take the key called NAME away; a running server knows within a second.

    \b
    appliance keys revoke warehouse
    """
    _keys(place).revoke(name)
    click.echo(f"The key {name} is revoked.")


def _keys(place: Place) -> ApiKeys:
    return ApiKeys(place.settings.data_folder / FILE_NAME)
