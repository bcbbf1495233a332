"""`appliance bench`: what this box can do."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from appliance.cli.load_test import Measured, clients_against, plain_loop
from appliance.cli.place import Place, with_place
from appliance.cli.server import Server
from appliance.cli.table import table
from appliance.lock import holder
from appliance.settings import environment_names
from models.errors import InvalidInput, ModelFailed

READY_WITHIN_S = 180.0
WIDTH, HEIGHT = 1920, 1080
"""Pixels of the picture that is drawn where none is given."""


@dataclass(frozen=True)
class Target:
    """A server to be measured, and its process."""

    server: Server
    pid: int | None


@click.command()
@click.option(
    "--picture", type=click.Path(path_type=Path), metavar="FILE", help="What to look at. [a drawn 1080p JPEG]"
)
@click.option("--clients", type=click.IntRange(2, 256), default=16, show_default=True, help="How many at once.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.5), default=10.0, show_default=True, help="How long each run lasts."
)
@click.option("--model", metavar="VERSION|BUNDLE", help="A version on this box, or a folder. [the one that serves]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_place
@click.pass_context
def bench(
    context: click.Context,
    place: Place,
    picture: Path | None,
    clients: int,
    seconds: float,
    model: str | None,
    as_json: bool,
) -> None:
    """Measure how fast this box detects.

    \b
    appliance bench
    appliance bench --picture photo.jpg --clients 8
    appliance bench --json > bench.json

    Three runs with the same model, run in the same way: a plain loop in one process, then a server that is asked by one
    client, then by many. The server is the one that runs (robots that use it are slowed down meanwhile), else one that
    is started for it. Compare numbers of one run only: another day the box may be hotter.
    """
    data = _picture(place, picture)
    with _target(place, model) as target:
        about = target.server.about()
        if about.get("model_info") is None or about.get("runtime") is None:
            raise ModelFailed("The server has no model that could be measured; its log tells why.")
        click.echo(f"A plain loop, {seconds:g} s ...", err=True)
        plain = _plain(about, place, data, seconds)
        runs = []
        for count in (1, clients):
            click.echo(f"{count} client{'s' if count > 1 else ''}, {seconds:g} s ...", err=True)
            runs.append(clients_against(target.server.url, data, count, seconds, target.pid))
    one, many = runs
    result = {
        "model": about["model_info"]["version"],
        "runtime": about["runtime"],
        "picture_bytes": len(data),
        "cores": len(os.sched_getaffinity(0)),
        "ways": about.get("ways", []),
        "plain_loop": asdict(plain),
        "one_client": asdict(one),
        "many_clients": asdict(many),
        "ratios": ratios(plain, one, many),
    }
    click.echo(json.dumps(result, indent=2) if as_json else _in_words(result, [plain, one, many]))
    if one.failed or many.failed:
        context.exit(1)


def ratios(plain: Measured, one: Measured, many: Measured) -> dict[str, float | None]:
    """What serving costs beside the plain loop, and how evenly it serves many."""

    def cpu(run: Measured) -> float | None:
        return round(run.cpu_ms / plain.cpu_ms, 3) if run.cpu_ms is not None and plain.cpu_ms else None

    return {
        "one client: p50 to the plain loop's": round(one.p50_ms / plain.p50_ms, 3),
        "one client: CPU to the plain loop's": cpu(one),
        "many clients: pictures/s to the plain loop's": round(many.per_second / plain.per_second, 3),
        "many clients: CPU to the plain loop's": cpu(many),
        "many clients: p99 to p50": round(many.p99_ms / many.p50_ms, 3),
    }


def _picture(place: Place, path: Path | None) -> bytes:
    if path is None:
        from models.fastest import sample
        from models.images import encode_jpeg

        return encode_jpeg(sample(WIDTH, HEIGHT))
    try:
        return (place.surroundings.working_directory / path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"The picture {path} cannot be read: {error.strerror}.") from error


def _plain(about: dict[str, Any], place: Place, picture: bytes, seconds: float) -> Measured:
    """The same model run in the same way, here."""
    import cv2

    from models.bundle import open_bundle
    from models.load import load
    from models.runtimes.base import Choice

    cv2.setNumThreads(1)  # as in the server's worker
    bundle = open_bundle(Path(about["model_info"]["model_root_path"]))
    detector = load(
        bundle, Choice.parse(about["runtime"]), cache=place.settings.data_folder / "cache", floor=0.3, lanes=1
    )
    try:
        return plain_loop(lambda: detector.detect(picture), seconds)
    finally:
        detector.close()


@contextlib.contextmanager
def _target(place: Place, model: str | None) -> Iterator[Target]:
    """The running server where no other model is asked for, else one that runs as long as the measurement."""
    server = place.server() if model is None else None
    if server is None:
        with _temporary(place, model) as target:
            yield target
        return
    with server:
        click.echo(f"Measuring the server at {server.url}.", err=True)
        found = holder(place.settings.data_folder)
        yield Target(server, found.pid if found else None)


@contextlib.contextmanager
def _temporary(place: Place, model: str | None) -> Iterator[Target]:
    """A server on a free port with a data folder of its own, which both go afterwards. It knows no Loop."""
    from appliance.cli.folder import Folder
    from models.zoo import seed_folder

    path = place.surroundings.working_directory / model if model is not None else None
    folder = path if path is not None and path.exists() else Folder(place.settings).bundle(model).folder
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="appliance-bench-") as scratch:
        command = [sys.executable, "-m", "appliance", "serve", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--data-dir", f"{scratch}/data"]
        command += [] if folder == seed_folder() else ["--model", str(folder)]
        command += ["--config", str(place.config)] if place.config else []
        loop = {
            name for field in ("loop_host", "loop_organization", "loop_project") for name in environment_names(field)
        }
        environment = {key: value for key, value in place.surroundings.environ.items() if key not in loop}
        log = Path(scratch) / "log"
        click.echo("Starting a server for the measurement ...", err=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - this very program
                command, stdout=output, stderr=output, env=environment, cwd=place.surroundings.working_directory
            )
        try:
            with Server(f"http://127.0.0.1:{port}") as server:
                _wait(server, process, log)
                _check_that_it_serves(server, folder)
                yield Target(server, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > until:
            raise ModelFailed(f"The server for the measurement did not start. {_last_error(log)}".strip())
        time.sleep(0.1)


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    errors = [line.partition(" ERROR ")[2].strip() for line in lines if " ERROR " in line]
    return errors[-1] if errors else lines[-1]


def _check_that_it_serves(server: Server, folder: Path) -> None:
    """A server whose model does not work serves another one, which is not what was to be measured."""
    from models.bundle import open_bundle

    about, wanted = server.about(), open_bundle(folder, verify_hashes=False).identity
    serves = about.get("model_info") or {}
    if (serves.get("organization"), serves.get("project"), serves.get("version")) != (
        wanted.organization,
        wanted.project,
        wanted.version,
    ):
        failures = server.models().get("failures") or [{}]
        raise ModelFailed(f"Model {wanted.version} does not serve. {failures[-1].get('reason', '')}".strip())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _in_words(result: dict[str, Any], runs: list[Measured]) -> str:
    lines = [f"Model {result['model']} on this box ({result['cores']} processor cores):"]
    ways = [
        (way["runtime"], f"{way['milliseconds']:.1f} ms" if way["milliseconds"] is not None else f"- ({way['reason']})")
        for way in sorted(result["ways"], key=lambda way: way["milliseconds"] or float("inf"))
    ]
    lines += [f"  {line}" for line in table(("run as", "inference"), ways).splitlines()] if ways else []
    names = ("plain loop", "1 client", f"{runs[2].clients} clients")
    rows = [
        (
            name,
            f"{run.p50_ms:.1f}",
            f"{run.p99_ms:.1f}",
            f"{run.per_second:.1f}",
            "-" if run.cpu_ms is None else f"{run.cpu_ms:.1f}",
            f"{run.client_cpu_ms:.1f}" if name != "plain loop" else "",
            str(run.failed or ""),
        )
        for name, run in zip(names, runs, strict=True)
    ]
    heads = ("", "p50 ms", "p99 ms", "pictures/s", "CPU ms/picture", "clients' CPU", "failed")
    lines += ["", f"A picture of {result['picture_bytes'] / 1e3:.0f} kB, run as {result['runtime']}:"]
    lines += [f"  {line}" for line in table(heads, rows, right=range(1, 7)).splitlines()]
    lines += ["", "Ratios:"]
    figures = [(name, "-" if value is None else f"{value:.2f}") for name, value in result["ratios"].items()]
    lines += [f"  {line}" for line in table(("", ""), figures, right=(1,)).splitlines()[1:]]
    return "\n".join(lines)
