"""The command `appliance`: its subcommands, and how every one of them ends.

Exit status: 0 it worked, 1 it did not, 2 it was called wrongly, 130 it was interrupted. What goes wrong is said as one
sentence on stderr; `--debug` shows the traceback as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from appliance.cli.backup import backup, restore
from appliance.cli.bench import bench
from appliance.cli.demo import demo
from appliance.cli.detect import detect
from appliance.cli.doctor import doctor
from appliance.cli.keys import keys
from appliance.cli.loop import loop
from appliance.cli.models import models
from appliance.cli.outbox import outbox
from appliance.cli.password import password
from appliance.cli.place import Surroundings
from appliance.cli.serve import serve
from appliance.cli.settings import settings
from appliance.cli.support import support
from appliance.cli.version import version

INTERRUPTED = 130


class InOrder(click.Group):
    """Lists its commands as they were added: what one needs first comes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See the class."""
        del ctx
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Look at pictures and say what is in them.

    \b
    appliance serve                        run the appliance, on port 8004
    appliance loop                         run a Learning Loop of your own, on port 8014
    appliance detect photo.jpg             what is in a picture
    appliance detect *.jpg --draw found    ... with the boxes drawn, into the folder found
    appliance models list                  the models on this box
    appliance doctor                       what is wrong, and what to do about it

    While a server runs on the data folder, the other commands talk to it; otherwise they open the folder themselves.
    `appliance COMMAND --help` tells more about each.
    """


for command in (
    serve,
    demo,
    loop,
    detect,
    models,
    outbox,
    bench,
    doctor,
    backup,
    restore,
    support,
    settings,
    password,
    keys,
    version,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (that of this process where none is given) and return its exit status."""
    surroundings = Surroundings(environ=os.environ, working_directory=Path.cwd())
    try:
        outcome = cli.main(arguments, prog_name="appliance", standalone_mode=False, obj=surroundings)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0
