"""Who is measured: the bare loop, the appliance, and the upstream node around the same weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.zoo import seed_folder
from tests.bench.children import LineProcess
from tests.bench.measures import Sample
from tests.e2e.peers import peer_venv
from tests.e2e.server_process import ServerProcess, appliance_process, free_port

HERE = Path(__file__).parent


class BareLoops:
    """Copies of the bare loop, of which one or all run at a time."""

    def __init__(self, copies: Sequence[LineProcess]) -> None:
        self._copies = copies
        for copy in copies:
            copy.hear()

    def measure(self, seconds: float, *, copies: int = 1) -> Sample:
        """Let the first `copies` of them run beside each other for `seconds`."""
        chosen = self._copies[:copies]
        for copy in chosen:
            copy.tell({"seconds": seconds})
        told = [copy.hear() for copy in chosen]
        if not all(one["detections"] for one in told):
            raise RuntimeError("The bare loop found nothing in the photograph: it cannot serve as a measure.")
        return Sample(
            milliseconds=[value for one in told for value in one["milliseconds"]],
            seconds=max(one["seconds"] for one in told),
            cpu_seconds=sum(one["cpu_seconds"] for one in told),
        )


def bare_loop(picture: Path, runtime: str, folder: Path) -> LineProcess:
    """One copy of the bare loop on the seed model."""
    script = str(HERE / "bare_loop.py")
    bundle = str(seed_folder())
    command = [sys.executable, script, "--bundle", bundle, "--picture", str(picture), "--runtime", runtime]
    return LineProcess(command, folder / "bare_loop.log")


@contextmanager
def appliance(data_folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """The appliance with the seed model, ready to detect; ended afterwards."""
    server = appliance_process(data_folder, environment=environment)
    yield from _served(server, "/readyz")


@contextmanager
def plain_server(runtime: str, log: Path) -> Iterator[ServerProcess]:
    """The bare loop behind a socket and a pipe, and nothing else; ended afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.plain_server", "--bundle", str(seed_folder())]
    command += ["--port", str(port), "--runtime", runtime]
    yield from _served(ServerProcess(command, port=port, log=log), "/")


@contextmanager
def upstream_node(data_folder: Path, threads: int) -> Iterator[ServerProcess]:
    """learning-loop-node 0.27.0 around the seed model's LiteRT weights, ready to detect; ended afterwards."""
    data_folder.mkdir(parents=True)
    port = free_port()
    command = [str(peer_venv("learning-loop-node-0.27")), str(HERE / "upstream_node.py")]
    command += ["--bundle", str(seed_folder()), "--data", str(data_folder)]
    command += ["--port", str(port), "--threads", str(threads)]
    yield from _served(ServerProcess(command, port=port, log=data_folder.parent / "upstream.log"), "/about")


def _served(server: ServerProcess, path: str) -> Iterator[ServerProcess]:
    try:
        server.start()
        server.wait_until(path)
        time.sleep(1.0)  # whatever a server does right after its start is over when the measuring begins
        yield server
    finally:
        server.kill()
