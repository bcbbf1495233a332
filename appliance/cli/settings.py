"""`appliance settings`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from appliance.cli.place import Place, with_place
from appliance.cli.table import table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with what each setting is for.")
@with_place
def settings(place: Place, as_json: bool) -> None:
    """Show every setting: its value, and where that came from.

    \b
    appliance settings
    NODE_PORT=80 appliance settings
    appliance settings --json

    Environment variables win over what was changed on the dashboard, that over appliance.toml, that over the default.
    Secrets are masked. Where a server runs on the data folder, its settings are shown.
    """
    server = place.server()
    if server is None:
        found: list[dict[str, Any]] = [asdict(entry) for entry in place.settings.in_force()]
    else:
        with server:
            found = server.settings()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if server is not None:
        click.echo(f"In force at {server.url}\n")
    rows = [(entry["name"], _shown(entry["value"]), entry["origin"]) for entry in found]
    click.echo(table(("setting", "value", "from"), rows))


def _shown(value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
