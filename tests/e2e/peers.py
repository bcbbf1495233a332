"""Real peers from PyPI, each in a virtual environment of its own.

Their pins conflict with each other and with ours (learning-loop-node 0.13 wants numpy<2 and Pillow<11, 0.27 wants
Pillow 12), so every peer gets `.peers/<name>`, made when it is first needed and kept until its requirements change.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS_FOLDER = REPOSITORY / ".peers"
CLIENT_SCRIPTS = Path(__file__).parent / "peer_clients"
INSTALL_SECONDS = 900


@dataclass(frozen=True)
class Peer:
    """What has to be installed for a peer, and the oldest and newest Python that has wheels for all of it."""

    requirements: tuple[str, ...]
    oldest: tuple[int, int] = (3, 10)
    newest: tuple[int, int] = (3, 13)


PEERS: Mapping[str, Peer] = {
    "rosys-0.37": Peer(("rosys==0.37.0",), oldest=(3, 11)),
    # nicegui>=3 lacks a module that rosys 0.28 imports; numpy<2 and its OpenCV have no wheels beyond 3.12
    "rosys-0.28": Peer(("rosys==0.28.0", "nicegui<3"), oldest=(3, 11), newest=(3, 12)),
    "learning-loop-node-0.13": Peer(("learning-loop-node==0.13.7",), newest=(3, 12)),
    "learning-loop-node-0.20": Peer(("learning-loop-node==0.20.2",)),
    # The last wheels that brought their own tests along: of the days of Socket.IO detectors, and of those that came after
    "learning-loop-node-0.13-tests": Peer(("learning-loop-node==0.13.7", "pytest-asyncio>=1,<2"), newest=(3, 12)),
    "learning-loop-node-0.18-tests": Peer(("learning-loop-node==0.18.0", "pytest-asyncio>=1,<2")),
    "learning-loop-node-0.27": Peer(
        ("learning-loop-node==0.27.0", "ai-edge-litert>=2.1,<3", "opencv-python-headless>=4.10")
    ),
}


class PeerMissingError(AssertionError):
    """A peer could not be set up; the message says what is missing."""


def peer_venv(name: str) -> Path:
    """Path of the Python interpreter that has the peer `name` installed; makes its environment if need be.

    Raises `PeerMissingError` where no fitting Python is on this machine or the installation fails.
    """
    peer = PEERS[name]
    folder = PEERS_FOLDER / name
    PEERS_FOLDER.mkdir(exist_ok=True)
    with _locked(PEERS_FOLDER / f"{name}.lock"):
        receipt = folder / "installed.json"
        wanted = json.dumps(peer.requirements)
        if not receipt.exists() or receipt.read_text() != wanted:
            _install(folder, peer)
            receipt.write_text(wanted)
    return folder / "bin" / "python"


def run_peer(name: str, script: str, *arguments: str | Path | int, home: Path, timeout: float = 120) -> Any:
    """Run `peer_clients/<script>` in the environment of the peer `name`; returns the JSON of its last line of output.

    `home` is where the peer may keep settings; `timeout` is in seconds. Raises AssertionError with everything that the
    peer said if it fails.
    """
    command = [str(peer_venv(name)), str(CLIENT_SCRIPTS / script), *map(str, arguments)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=home, check=False
    )
    if done.returncode != 0:
        raise AssertionError(
            f"{name}: {script} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def find_python(oldest: tuple[int, int], newest: tuple[int, int]) -> Path:
    """A Python from `oldest` to `newest` that can make virtual environments: this one, else the newest there is.

    Raises `PeerMissingError`.
    """
    for candidate in _pythons(newest):
        version = _version_that_makes_venvs(candidate)
        if version is not None and oldest <= version <= newest:
            return candidate
    wanted = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    raise PeerMissingError(f"No Python {wanted} with its venv module is on this machine; install one of them.")


def _pythons(newest: tuple[int, int]) -> Iterator[Path]:
    """Interpreters of this machine, in the order in which they should be tried."""
    yield Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in range(newest[1], 9, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield Path(found)
        yield from sorted(pyenv.glob(f"3.{minor}.*/bin/python"), reverse=True)


def _version_that_makes_venvs(python: Path) -> tuple[int, int] | None:
    """Major and minor version, or None if it does not start or lacks what a virtual environment needs."""
    probe = "import ensurepip, venv, sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor = answer.stdout.split()
    return int(major), int(minor)


def _install(folder: Path, peer: Peer) -> None:
    python = find_python(peer.oldest, peer.newest)
    shutil.rmtree(folder, ignore_errors=True)
    steps = (
        [str(python), "-m", "venv", str(folder)],
        [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *peer.requirements,
        ],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            raise PeerMissingError(f"Could not install {', '.join(peer.requirements)}:\n{done.stdout}\n{done.stderr}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time: two test runs must not fill the same environment."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
