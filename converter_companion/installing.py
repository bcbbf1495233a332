"""`install-tools`: a virtual environment of its own for what turns networks into LiteRT."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from converter_companion import tools
from models.errors import ModelFailed, NoRoom
from models.files import FILE_SYSTEM, FileSystem, refusal

DOWNLOAD_MB = 500
DISK_MB = 2200
"""As it was with PyTorch for processors, on x86-64 under Python 3.11."""

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch without CUDA, which is several gigabytes smaller; the conversion uses no graphics card."""

CUDA_DISK_MB = 8000
"""With the PyTorch of the usual index, which on Linux brings CUDA's libraries."""

_NO_NETWORK = (
    "name resolution",
    "NewConnectionError",
    "Max retries",
    "Network is unreachable",
    "No matching distribution",
)
_NO_ROOM = ("No space left on device", "Disk quota exceeded")
_INDEX_WITHIN_S = 5.0
_STEP = re.compile(r"(?:Collecting|Downloading|Using cached|Processing) \S+(?: \([\d.]+ \w+\))?")
_UNPACKING = "Installing collected packages:"

Tell = Callable[[str], None]


def requirements() -> str:
    """The pinned packages, as pip reads them."""
    return resources.files("converter_companion").joinpath("tools_requirements.txt").read_text(encoding="utf-8")


def announcement(folder: Path, index: str | None) -> str:
    """What will be done, for whoever has to agree. `index`: see `extra_index`."""
    packages = ", ".join(line for line in requirements().splitlines() if line and not line.startswith("#"))
    said = (
        f"Into {folder}, a virtual environment of {sys.executable}, will be installed: {packages}.\n"
        f"About {DOWNLOAD_MB} MB are downloaded and {DISK_MB / 1000:.1f} GB of disk are used; that takes some minutes. "
        "Nothing outside that folder is changed."
    )
    if index is not None:
        return f"{said} PyTorch is looked for in {index}, too."
    return (
        f"{said}\n{CPU_INDEX}, which has PyTorch without CUDA, cannot be reached from here. Where pip is told of no other such "
        f"index (--index), several gigabytes are downloaded and up to {CUDA_DISK_MB / 1000:.0f} GB of disk are used."
    )


def extra_index(given: str | None) -> str | None:
    """The index for pip beside the usual one: the one that was given, else PyTorch's, if it can be reached. Blocks."""
    return given or (CPU_INDEX if _reachable(CPU_INDEX) else None)


def installed(data_folder: Path) -> Path | None:
    """The Python of a complete environment with just these packages; None where there is none. Blocks."""
    folder = data_folder / tools.FOLDER
    python = folder / "bin" / "python"
    try:
        complete = (folder / tools.COMPLETE).read_text(encoding="utf-8") == requirements()
    except OSError:
        return None
    return python if complete and tools.can_convert(python) else None


def install(data_folder: Path, tell: Tell, index: str | None = None, files: FileSystem = FILE_SYSTEM) -> Path:
    """Make the environment below `data_folder`, or go on where an interrupted call was; returns its Python. Blocks.

    pip keeps what it has downloaded, so a second call begins where the line broke. `index`: see `extra_index`. Raises
    `NoRoom`, `StorageRefused`, and `ModelFailed` with what pip said.
    """
    folder = data_folder / tools.FOLDER
    python = folder / "bin" / "python"
    done, wanted = folder / tools.COMPLETE, requirements()
    try:
        files.make_folders(folder)
        files.remove_tree(done)
        free = files.free_bytes(folder) / 1e6
    except OSError as error:
        raise refusal(error, f"make {folder}") from error
    if free < DISK_MB:
        raise NoRoom(
            f"The disk of {folder} has {free:.0f} MB free; {DISK_MB} MB are needed. --data-dir names another place."
        )
    if not python.exists():
        tell("Making the environment")
        venv.create(folder, with_pip=True, clear=True)
    listed = folder / "requirements.txt"
    files.write_atomically(listed, wanted.encode())
    options = [] if index is None else ["--extra-index-url", index]
    _pip(python, ["install", "--progress-bar", "off", *options, "--requirement", str(listed)], tell)
    if not tools.can_convert(python):
        raise ModelFailed(
            f"pip is done, but {python} cannot import {' and '.join(tools.NEEDED)}. Remove {folder}, and try again."
        )
    files.write_atomically(done, wanted.encode())
    return python


def remove(data_folder: Path) -> None:
    """Take the environment away again. Blocks."""
    shutil.rmtree(data_folder / tools.FOLDER, ignore_errors=True)


def _pip(python: Path, arguments: Sequence[str], tell: Tell) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONNOUSERSITE"] = "1"
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    last: list[str] = []
    with subprocess.Popen(  # noqa: S603 # our own Python
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            last = [*last, line.strip()][-20:]
            if (step := _STEP.match(line.strip())) is not None:
                tell(step[0])
            elif line.startswith(_UNPACKING):
                tell(f"Unpacking {line.count(',') + 1} packages; that takes a minute or two")
    if pip.returncode == 0:
        return
    said = next((line for line in reversed(last) if line.startswith("ERROR")), last[-1] if last else "nothing")
    everything = " ".join(last)
    if any(words in everything for words in _NO_ROOM):
        raise NoRoom(
            f"The disk became full: {said[:300]}. Free some space, or name another place by --data-dir; pip unpacks in "
            f"{tempfile.gettempdir()}, too (TMPDIR). The same command goes on where it was."
        )
    if any(words in everything for words in _NO_NETWORK):
        raise ModelFailed(
            f"The packages could not be downloaded; is there a network? pip said: {said[:300]}. The same command goes on "
            "where it was."
        )
    raise ModelFailed(f"pip could not install the tools: {said[:400]}. The same command tries again.")


def _reachable(url: str) -> bool:
    """By the way that pip takes, through a proxy where the environment names one."""
    import httpx

    try:
        return httpx.head(url, timeout=_INDEX_WITHIN_S, follow_redirects=True).status_code < 500
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return False
