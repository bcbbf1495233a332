"""`appliance password`: for whoever is at the box itself, be it claimed or its password forgotten."""

from __future__ import annotations

import sys

import click

from appliance.cli.place import Place, with_place
from appliance.hashing import check_password
from appliance.passwords import FILE_NAME, PasswordFile, clear_password, set_password
from models.files import FILE_SYSTEM


@click.group()
def password() -> None:
    """Set or clear the password with which people log in from other machines."""


@password.command("set")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read it from the first line of standard input; do not ask.")
@with_place
def set_it(place: Place, from_stdin: bool) -> None:
    """Set the password; the old one need not be known. Everybody who is logged in has to log in again.

    \b
    appliance password set
    pass show box | appliance password set --stdin
    """
    wanted = _first_line() if from_stdin else click.prompt("New password", hide_input=True, confirmation_prompt=True)
    check_password(wanted)
    server = place.server()
    if server is None:
        set_password(_file(place), wanted)
    else:
        with server:
            server.ask("PUT", "/api/v1/password", json={"password": wanted})
    click.echo("The password is set. Everybody who was logged in has to log in again.")


@password.command()
@with_place
def clear(place: Place) -> None:
    """Take the password away and print the one-time code with which the box is claimed anew.

    \b
    appliance password clear
    """
    server = place.server()
    if server is None:
        code = clear_password(_file(place))
    else:
        with server:
            code = str(server.ask("DELETE", "/api/v1/password")["code"])
    click.echo(code)
    click.echo("The password is gone. Whoever opens the box from another machine claims it with this code.", err=True)


def _file(place: Place) -> PasswordFile:
    return PasswordFile(place.settings.data_folder / FILE_NAME, FILE_SYSTEM)


def _first_line() -> str:
    return sys.stdin.readline().rstrip("\r\n")
