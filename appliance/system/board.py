"""What the machine is: board, operating system, memory, network, how long it runs. As Linux tells it; blocks for a moment."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import socket
import struct
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from ipaddress import IPv6Address
from pathlib import Path

LIBRARIES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "numpy")
"""What decides how models run; a report of a fault should say which it was."""

PROGRAM = "detector-appliance"

_SIOCGIFADDR = 0x8915
_MODELS = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_PLACEHOLDERS = frozenset({"", "to be filled by o.e.m.", "system product name", "default string", "none"})


@dataclass(frozen=True)
class NetworkInterface:
    """One network, without loopback. `up`: there is a link; addresses as text."""

    name: str
    up: bool
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """`model` is what the maker calls it. `processors` are those that this program may use, `memory_bytes` all there is,
    `uptime` the seconds since the machine was switched on.
    """

    model: str
    system: str
    kernel: str
    architecture: str
    host_name: str
    processors: int
    memory_bytes: int | None
    uptime: float | None
    networks: tuple[NetworkInterface, ...]


def board(root: Path = Path("/")) -> Board:
    """Look at the machine below `root`."""
    return Board(
        model=_model(root),
        system=_system(root),
        kernel=platform.release(),
        architecture=platform.machine(),
        host_name=socket.gethostname(),
        processors=len(os.sched_getaffinity(0)),
        memory_bytes=_memory(root),
        uptime=_uptime(root),
        networks=_networks(root),
    )


def versions() -> dict[str, str]:
    """Of this program, of Python, and of what models run on."""
    found = {PROGRAM: installed(PROGRAM), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            continue  # one runtime of the two is enough
    return found


def _model(root: Path) -> str:
    for path in _MODELS:
        text = _read(root / path).rstrip("\0").strip()
        if text:
            return text
    parts = [_read(root / "sys/class/dmi/id" / name).strip() for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part.lower() not in _PLACEHOLDERS) or f"{platform.machine()} computer"


def _system(root: Path) -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', _read(root / "etc/os-release"), re.MULTILINE)
    return match[1] if match else platform.system()


def _memory(root: Path) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _uptime(root: Path) -> float | None:
    try:
        return float(_read(root / "proc/uptime").split()[0])
    except (IndexError, ValueError):
        return None


def _networks(root: Path) -> tuple[NetworkInterface, ...]:
    version_6 = _version_6(_read(root / "proc/net/if_inet6"))
    found = []
    try:
        names = sorted(path.name for path in (root / "sys/class/net").iterdir())
    except OSError:
        return ()
    for name in names:
        if name == "lo" or not (root / "sys/class/net" / name / "operstate").exists():
            continue
        state = _read(root / "sys/class/net" / name / "operstate").strip()
        four = _version_4(name)
        addresses = (*([four] if four else []), *version_6.get(name, ()))
        found.append(NetworkInterface(name, state == "up" or (state == "unknown" and bool(addresses)), addresses))
    return tuple(found)


def _version_4(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:  # it has none
            return None
    return socket.inet_ntoa(answer[20:24])


def _version_6(table: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        fields = line.split()
        if len(fields) == 6 and len(fields[0]) == 32:
            address = IPv6Address(int(fields[0], 16))
            if not address.is_link_local:
                found.setdefault(fields[5], []).append(str(address))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
