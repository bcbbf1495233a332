"""Which NVIDIA GPU and driver this box has: part of the key of compiled engines, and the sign that a GPU is there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Gpu:
    """Name and driver, as text."""

    name: str
    driver: str


def identity(root: Path = Path("/"), nvidia_smi: str = "nvidia-smi") -> Gpu | None:
    """The first GPU, or None. A Jetson has no nvidia-smi worth asking on older systems, but names itself in two files."""
    release, board = root / "etc/nv_tegra_release", root / "proc/device-tree/model"
    if release.exists():
        name = board.read_text(encoding="utf-8", errors="replace").strip("\x00\n ") if board.exists() else "Jetson"
        return Gpu(name, release.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip())
    try:
        told = subprocess.run(  # noqa: S603 - fixed arguments
            [nvidia_smi, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    name, _, driver = told.partition("\n")[0].rpartition(",")
    return Gpu(name.strip(), driver.strip()) if name.strip() else None


def tensorrt_version(root: Path = Path("/")) -> str:
    """Of the Python package, or of the library's file name on a Jetson; `unknown` where neither tells."""
    for distribution in ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    libraries = sorted((root / "usr/lib").glob("*-linux-gnu/libnvinfer.so.*.*"))
    return ",".join(library.name.partition(".so.")[2] for library in libraries) or "unknown"
