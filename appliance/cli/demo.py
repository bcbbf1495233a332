"""`appliance demo`: a box and a Learning Loop of its own, side by side on this machine."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import httpx

from appliance.cli.demo_project import MODEL_VERSION, ORGANIZATION, PROJECT, prepare
from appliance.cli.place import Place, with_place
from appliance.cli.serve import stop_on_sigterm
from appliance.lock import running_server
from appliance.settings import environment_names
from models.errors import DetectorApplianceError, SettingsInvalid
from models.zoo import photograph

READY_SECONDS = 120.0
END_SECONDS = 20.0
LOOKED_EVERY = 0.2

LOOP_SETTINGS = (
    "loop_host",
    "loop_organization",
    "loop_project",
    "loop_username",
    "loop_password",
    "loop_ssl_cert_path",
    "model_format",
    "version_control_default",
    "bind_host",
    "port",
    "data_folder",
)
"""What the demo decides by itself, whatever the environment says."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8004, show_default=True, help="Port of the box.")
@click.option("--loop-port", type=click.IntRange(1, 65535), default=8014, show_default=True, help="Port of the Loop.")
@with_place
def demo(place: Place, port: int, loop_port: int) -> None:
    """Run a box and a Learning Loop of its own beside each other, on this machine alone.

    \b
    appliance demo
    appliance demo --port 9004 --loop-port 9014

    The Loop has one project with the model that comes along, and deploys it; the box follows, detects, and sends the
    pictures it was unsure about to the Loop, which keeps them with what was found. Both keep their data below the
    folder `demo` in the data folder, apart from that of `appliance serve`. Ctrl-C ends both.
    """
    if port == loop_port:
        raise click.UsageError("The box and the Loop need a port each; --port and --loop-port are the same.")
    folder = place.settings.data_folder / "demo"
    for part in ("box", "loop"):
        taken = running_server(folder / part)
        if taken is not None:
            raise SettingsInvalid(
                f"A demo runs on {folder} already ({taken}); end that one first, or name another --data-dir."
            )
    stop_on_sigterm()
    environ = without_loop_settings(place.surroundings.environ)
    loop_url, box_url = f"http://127.0.0.1:{loop_port}", f"http://127.0.0.1:{port}"
    try:
        with child("loop", ["loop", "--port", str(loop_port), "--data-dir", str(folder / "loop")], environ) as loop:
            wait_until_ready(loop, f"{loop_url}/api/status")
            with httpx.Client(base_url=loop_url, timeout=60.0, trust_env=False) as client:
                if prepare(client, folder):
                    click.echo(
                        f"The Loop has the project {ORGANIZATION}/{PROJECT} now and deploys model {MODEL_VERSION}."
                    )
            follows = {
                "LOOP_HOST": f"127.0.0.1:{loop_port}",
                "LOOP_ORGANIZATION": ORGANIZATION,
                "LOOP_PROJECT": PROJECT,
            }
            serve = ["serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder / "box")]
            with child("box", serve, {**environ, **follows}) as box:
                wait_until_ready(box, f"{box_url}/readyz")
                click.echo(what_to_try(box_url, loop_url, photograph()))
                wait_until_one_ends(box, loop)
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


def what_to_try(box_url: str, loop_url: str, picture: Path) -> str:
    """For whoever has just started it. Each line can be pasted as it stands."""
    file = shlex.quote(f"file=@{picture}")
    images = f"{loop_url}/api/{ORGANIZATION}/projects/{PROJECT}"
    return f"""
The box and its Loop are running. Try, in another terminal:

  a picture            curl -F {file} {box_url}/detect
  one to be kept       curl -F {file} -H 'autoupload: all' {box_url}/detect
  what the Loop has    curl {images}/data
  a browser            {box_url} (every route: {box_url}/docs, the Loop's: {loop_url}/docs)
  a robot              rosys.vision.DetectorHardware(port={box_url.rpartition(":")[2]})
  which model          curl {box_url}/model_version
  another one          curl -X PUT -d 0.0 {box_url}/model_version
  as the Loop says     curl -X PUT -d follow_loop {box_url}/model_version
  more                 appliance --help

Ctrl-C stops both.
"""


def without_loop_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the demo decides: a LOOP_HOST of somebody's robot is not meant here."""
    decided = {name for setting in LOOP_SETTINGS for name in environment_names(setting)}
    return {name: value for name, value in environ.items() if name not in decided}


@contextmanager
def child(name: str, arguments: list[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`appliance ARGUMENTS` as a process that ends with this block; it writes to this terminal."""
    command = [sys.executable, "-m", "appliance", *arguments]
    # A session of its own: Ctrl-C is for the demo alone, which then ends its parts in order.
    process = subprocess.Popen(command, env=dict(environ), start_new_session=True)  # noqa: S603 - our own program
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                click.echo(f"The {name} did not end in time and is killed.", err=True)
                process.kill()
                process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when `url` answers 200. Raises an error if the process ends first, or after two minutes."""
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get(url).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass  # not yet
            time.sleep(LOOKED_EVERY)
    raise DetectorApplianceError(f"{url} did not get ready; what was printed above says why.")


def wait_until_one_ends(*processes: subprocess.Popen[bytes]) -> None:
    """Raises an error as soon as one of them has ended: none of them should."""
    while all(process.poll() is None for process in processes):
        time.sleep(LOOKED_EVERY)
    raise DetectorApplianceError("A part of the demo has ended; what was printed above says why.")
