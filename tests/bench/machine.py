"""On what the benchmark ran, so that its numbers can be read."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("ai-edge-litert", "onnxruntime", "opencv-python-headless", "numpy", "uvicorn", "nicegui")


def describe() -> dict[str, str]:
    """Processor, memory, system, versions, and how busy the machine was before the benchmark began."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "load before": load,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
