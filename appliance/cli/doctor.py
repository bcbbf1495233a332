"""`appliance doctor`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click

from appliance.cli.folder import Folder
from appliance.cli.outbox_folder import OutboxFolder
from appliance.cli.place import Place, with_place
from appliance.cli.server import Server
from appliance.outbox.folders import FOLDERS
from appliance.outbox.mode import load_mode
from appliance.outbox.queue import MODE_FILE
from appliance.settings import Settings
from appliance.system import loop_check
from appliance.system.doctor import gather, loop_incomplete
from appliance.system.facts import LoopFacts, ModelFacts, OutboxFacts
from appliance.system.findings import MEGABYTE, Finding, findings, is_well
from appliance.versions.scope import scope_of
from models.errors import DetectorApplianceError, LoopError
from models.loop.client import LoopClient

MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "notice": ("·", "cyan")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_place
def doctor(place: Place, as_json: bool) -> None:
    """Look for what is wrong with this box, and say what to do about it.

    \b
    appliance doctor
    appliance doctor --json

    The exit status is 1 if something is wrong, 0 if all is well or there is only something good to know. Where a server
    runs on the data folder it is asked; else the folder, the machine and the Learning Loop are looked at from here.
    """
    server = place.server()
    found = asyncio.run(at_folder(place.load())) if server is None else _at_server(place, server)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _show(found)
    if not is_well(found):
        click.get_current_context().exit(1)


def _at_server(place: Place, server: Server) -> list[Finding]:
    with server:
        try:
            return [Finding(**each) for each in server.doctor()]
        except DetectorApplianceError as error:
            facts = gather(
                place.settings,
                model=ModelFacts(None, starting=True),
                loop=LoopFacts(),
                outbox=OutboxFacts(),
                server_problem=str(error),
            )
            return findings(facts)


async def at_folder(settings: Settings) -> list[Finding]:
    """What is wrong with a box that does not run."""
    model, outbox = await asyncio.to_thread(_model, settings), await asyncio.to_thread(_outbox, settings)
    loop = await _loop(settings)
    facts = await asyncio.to_thread(gather, settings, model=model, loop=loop, outbox=outbox)
    return findings(facts)


def _model(settings: Settings) -> ModelFacts:
    try:
        listing = Folder(settings).listing()
    except DetectorApplianceError as error:
        return ModelFacts(None, error=str(error))
    current = next((each for each in listing["models"] if each["current"]), None)
    if current is None:
        return ModelFacts(None, error="there is none on this box that its settings let serve.")
    return ModelFacts(str(current["version"]))


def _outbox(settings: Settings) -> OutboxFacts:
    root = settings.data_folder / "outbox"
    items, size = 0, 0
    try:
        folder = OutboxFolder(settings.data_folder)
        rejected = folder.count(rejected=True)
        items = rejected + folder.count(rejected=False)
        size = sum(file.stat().st_size for name in FOLDERS for file in (root / name).glob("*/*"))
        stopped = load_mode(root / MODE_FILE) == "stopped"
    except (DetectorApplianceError, OSError) as error:
        return OutboxFacts(problem=f"The outbox cannot be looked at: {error}")
    return OutboxFacts(items, settings.max_outbox_size, size, settings.max_outbox_mb * MEGABYTE, rejected, stopped)


async def _loop(settings: Settings) -> LoopFacts:
    if settings.standalone:
        return LoopFacts(incomplete=loop_incomplete(settings))
    from appliance.app import loop_client

    client: LoopClient | None = None
    try:
        client = loop_client(settings)
        assert client is not None  # the box is not standalone
        project = client.project(str(settings.loop_organization), str(settings.loop_project))
        return await loop_check.check(str(settings.loop_host), project, scope_of(settings).formats)
    except LoopError as error:
        return LoopFacts(settings.loop_host, loop_check.problem_of(error), str(error))
    finally:
        if client is not None:
            await client.close()


def _show(found: list[Finding]) -> None:
    if not found:
        click.echo("All is well.")
    for each in found:
        mark, colour = MARKS[each.severity]
        click.echo(f"{click.style(mark, fg=colour)} {each.severity}: {each.sentence}")
        click.echo(f"  {each.to_do}")
    if found and is_well(found):
        click.echo("Nothing is wrong.")
