"""`appliance loop`: the embedded loop."""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import click

from appliance import lock, logs
from appliance.cli.place import Place, with_place
from appliance.cli.serve import stop_on_sigterm
from appliance.loop_server.settings import DEFAULT_PORT
from appliance.settings import Settings
from models.errors import SettingsInvalid

FOLDER = "loop"
"""Within the data folder, where --data-dir names no other."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 means every network. [127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, help=f"TCP port to listen on. [{DEFAULT_PORT}]"
)
@click.option("--test-data", is_flag=True, help="Add the projects that the tests of learning-loop-node need.")
@click.option("--database-url", metavar="URL", help="A PostgreSQL database: postgresql+pg8000://… [a file of SQLite]")
@click.option("--blobs-url", metavar="URL", help="Where pictures and models are kept: s3://bucket/… [a folder]")
@with_place
def loop(
    place: Place, host: str | None, port: int, test_data: bool, database_url: str | None, blobs_url: str | None
) -> None:
    """Run a small Learning Loop of your own until it is told to stop (Ctrl-C).

    \b
    appliance loop
    appliance loop --host 0.0.0.0 --data-dir /srv/loop
    appliance loop --database-url postgresql+pg8000://loop@db/loop --blobs-url s3://pictures/loop

    It takes pictures in, keeps annotations and models, and tells detectors which model to run. The first start makes the
    user named by LOOP_USERNAME and LOOP_PASSWORD, else `admin`, whose password it prints. Without --data-dir its things
    are kept in the folder `loop` of the data folder.
    """
    place = place.overriding(bind_host=host)
    settings = place.settings
    folder = settings.data_folder if place.data_dir is not None else settings.data_folder / FOLDER
    stop_on_sigterm()
    try:
        _serve(settings, folder, port, test_data=test_data, database_url=database_url, blobs_url=blobs_url)
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


def _known_as(bind_host: str, port: int) -> str:
    """What models of this loop say of where they come from: host and port as a network knows them."""
    try:
        everywhere = ip_address(bind_host).is_unspecified
    except ValueError:
        everywhere = False
    return urlsplit(lock.local_url(socket.gethostname() if everywhere else bind_host, port)).netloc


def _serve(
    settings: Settings,
    folder: Path,
    port: int,
    *,
    test_data: bool,
    database_url: str | None,
    blobs_url: str | None,
) -> None:
    """Raises `SettingsInvalid` if another server has the folder, or the loop does not start."""
    import uvicorn

    from appliance.listening import configured
    from appliance.loop_server.app import LoopServerSettings, create_loop
    from appliance.loop_server.events import MAX_MESSAGE

    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    url = lock.local_url(settings.bind_host, port)
    with lock.acquire(folder, url):
        app = create_loop(
            LoopServerSettings(
                data_folder=folder,
                database_url=database_url,
                blobs_url=blobs_url,
                test_data=test_data,
                username=settings.loop_username,
                password=settings.loop_password.get_secret_value() if settings.loop_password else None,
                host=_known_as(settings.bind_host, port),
                trusted_networks=tuple(settings.trusted_networks),
                trusted_proxies=tuple(settings.trusted_proxies),
                allowed_hosts=tuple(settings.allowed_hosts),
                max_image_mb=settings.max_image_mb,
                max_image_megapixels=settings.max_image_megapixels,
            )
        )
        server = uvicorn.Server(configured(app, settings.bind_host, port, MAX_MESSAGE))
        server.run()
    if not server.started:
        raise SettingsInvalid("The loop did not start; the lines above say why.")
