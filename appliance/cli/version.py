"""`appliance version`."""

from __future__ import annotations

import platform

import click

from appliance.cli.table import table
from appliance.system.board import PROGRAM, versions


@click.command()
def version() -> None:
    """Show the version of this program and of what models run on.

    \b
    appliance version
    """
    found = versions()
    rows = [("python", f"{found['python']} on {platform.system()} {platform.machine()}")]
    rows += [(name, each) for name, each in found.items() if name not in (PROGRAM, "python")]
    click.echo(table((PROGRAM, found[PROGRAM]), rows))
