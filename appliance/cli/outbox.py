"""`appliance outbox`: the pictures that wait for the Loop, and those that it did not want."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click

from appliance.cli.outbox_folder import OutboxFolder
from appliance.cli.outbox_server import OutboxServer
from appliance.cli.outbox_zip import write_zip
from appliance.cli.place import Place, with_place
from appliance.cli.table import table
from models.errors import InvalidInput
from models.files import refusal


class Pictures(Protocol):
    """The outbox, be it a server's or a folder. All methods raise `DetectorApplianceError`."""

    def count(self, *, rejected: bool) -> int: ...

    def items(self, *, rejected: bool) -> Iterator[dict[str, Any]]: ...

    def item(self, item_id: str) -> dict[str, Any] | None: ...

    def picture(self, item_id: str) -> bytes | None: ...

    def retry(self, item_id: str | None = None) -> int: ...

    def clear(self, *, rejected: bool) -> Iterator[int]: ...

    def size(self, *, rejected: bool) -> int: ...

    def packed(self, *, rejected: bool) -> Iterator[bytes]: ...


rejected_option = click.option("--rejected", is_flag=True, help="Those that the Learning Loop did not want.")


@click.group()
def outbox() -> None:
    """List, look at, retry, delete and export the pictures that wait for the Learning Loop.

    \b
    appliance outbox list
    appliance outbox list --rejected
    appliance outbox export pictures.zip
    """


@outbox.command("list")
@rejected_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Pictures to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_place
def list_items(place: Place, rejected: bool, limit: int, as_json: bool) -> None:
    """List the pictures that wait, and why each is kept.

    \b
    appliance outbox list
    appliance outbox list --rejected --limit 100
    """
    with _opened(place) as pictures:
        count = pictures.count(rejected=rejected)
        items = list(itertools.islice(pictures.items(rejected=rejected), limit))
    if as_json:
        click.echo(json.dumps({"count": count, "items": items}, indent=2))
        return
    if items:
        rows = [
            (each["id"], each["queue"], f"{each['bytes'] / 1e3:.0f} kB", each["error"] or "; ".join(each["reasons"]))
            for each in items
        ]
        click.echo(table(("id", "queue", "size", "what the Loop said" if rejected else "why"), rows, right=(2,)))
    what = "rejected by the Learning Loop" if rejected else "waiting for the Learning Loop"
    more = f" The first {len(items)} are listed; --limit lists more." if len(items) < count else ""
    click.echo(f"{_pictures(count)}: {what}.{more}", err=True)


@outbox.command()
@click.argument("item_id", metavar="ID")
@with_place
def show(place: Place, item_id: str) -> None:
    """Show all that is known of the picture called ID, as JSON.

    \b
    appliance outbox show 2024-01-31_12-34-56.789000
    """
    with _opened(place) as pictures:
        found = pictures.item(item_id)
    if found is None:
        raise _not_here(item_id)
    click.echo(json.dumps(found, indent=2))


@outbox.command()
@click.argument("item_id", metavar="[ID]", required=False)
@with_place
def retry(place: Place, item_id: str | None) -> None:
    """Have rejected pictures sent once more: the one called ID, else all of them. Nobody waits for the next try then.

    \b
    appliance outbox retry
    appliance outbox retry 2024-01-31_12-34-56.789000
    """
    with _opened(place) as pictures:
        count = pictures.retry(item_id)
    if item_id is not None and not count:
        raise InvalidInput(f"There is no rejected picture {item_id}; `appliance outbox list --rejected` lists them.")
    click.echo(f"To be sent once more: {_pictures(count)}.")


@outbox.command()
@rejected_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_place
def clear(place: Place, rejected: bool, yes: bool) -> None:
    """Delete all pictures that wait, for good; it asks before.

    \b
    appliance outbox clear
    appliance outbox clear --rejected --yes
    """
    with _opened(place) as pictures:
        count = pictures.count(rejected=rejected)
        if not count:
            click.echo("There is nothing to delete.")
            return
        if not yes:
            what = "rejected by the Learning Loop" if rejected else "waiting for the Learning Loop"
            click.confirm(f"Delete {_pictures(count)} {what}? What is deleted is gone for good.", abort=True)
        deleted = 0
        with click.progressbar(length=count, label="Deleting", file=sys.stderr) as bar:
            for so_far in pictures.clear(rejected=rejected):
                bar.update(so_far - deleted)
                deleted = so_far
    click.echo(f"Deleted: {_pictures(deleted)}.")


@outbox.command()
@click.argument("target", metavar="DIR|FILE.zip", type=click.Path(path_type=Path))
@rejected_option
@with_place
def export(place: Place, target: Path, rejected: bool) -> None:
    """Copy the pictures that wait into the folder DIR or the new FILE.zip, each with what is known of it.

    \b
    appliance outbox export pictures
    appliance outbox export pictures.zip
    appliance outbox export --rejected rejected.zip

    What is in DIR already stays. Nothing is deleted from the outbox.
    """
    path = place.surroundings.working_directory / target
    with _opened(place) as pictures:
        if path.suffix.lower() == ".zip":
            written = write_zip(pictures, path, rejected=rejected)
            missing = f" Sent or deleted meanwhile: {written.left_out}." if written.left_out else ""
            click.echo(f"{path}: {_pictures(written.pictures)}, {written.bytes / 1e6:.1f} MB.{missing}")
        else:
            _export_to_folder(pictures, path, rejected)


def _export_to_folder(pictures: Pictures, target: Path, rejected: bool) -> None:
    copied = there = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        with click.progressbar(length=pictures.count(rejected=rejected), label="Copying", file=sys.stderr) as bar:
            for item in pictures.items(rejected=rejected):
                bar.update(1)
                stem = target / f"image_{item['id'].replace(':', '-')}"
                if stem.with_name(f"{stem.name}.jpg").exists():
                    there += 1
                else:
                    copied += _copy(pictures, item["id"], stem)
    except OSError as error:
        raise refusal(error, f"copy the pictures to {target}") from error
    click.echo(f"Copied to {target}: {_pictures(copied)}." + (f" Already there: {there}." if there else ""))


def _copy(pictures: Pictures, item_id: str, stem: Path) -> bool:
    """False if it was sent meanwhile. The picture comes last: whoever sees it has all of it."""
    item, picture = pictures.item(item_id), pictures.picture(item_id)
    if item is None or picture is None:
        return False
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(item["metadata"]), encoding="utf-8")
    part = stem.with_name(f"{stem.name}.part")
    part.write_bytes(picture)
    part.replace(stem.with_name(f"{stem.name}.jpg"))
    return True


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _not_here(item_id: str) -> InvalidInput:
    return InvalidInput(
        f"There is no picture {item_id} in the outbox, or no more; `appliance outbox list` lists those that wait."
    )


@contextmanager
def _opened(place: Place) -> Iterator[Pictures]:
    server = place.server()
    if server is None:
        yield OutboxFolder(place.settings.data_folder)
        return
    with server:
        yield OutboxServer(server)
