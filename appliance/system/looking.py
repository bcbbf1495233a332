"""Looks at the machine for what a doctor asks. Everything blocks for a moment; nothing raises."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from appliance.system.facts import Clock, Disk, EdgeTpu, Power
from models.files import FILE_SYSTEM, FileSystem
from models.runtimes import edgetpu

SYSFS_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
PROBE_FILE = ".incoming-probe"
"""Written and removed again. The name is one of those that every start sweeps away."""

_NOW, _BEFORE = {"under_voltage": 0x1, "throttled": 0x6}, {"under_voltage_before": 0x10000, "throttled_before": 0x60000}
"""Bits of the Raspberry Pi firmware's `get_throttled`: 0x2 is a capped frequency, 0x4 throttling; 16 bits up, the past."""

_TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronized."""

_LARGER_THAN_TIMEX = 512


def power(root: Path = Path("/"), ask_firmware: Callable[[], str | None] | None = None) -> Power:
    """Of a Raspberry Pi, from sysfs or its tool `vcgencmd`; all False on other machines."""
    try:
        text: str | None = (root / SYSFS_THROTTLED).read_text()
    except (OSError, UnicodeDecodeError):
        text = (ask_firmware or vcgencmd)()
    if text is None:
        return Power()
    try:
        bits = int(text.strip().rpartition("=")[2], 16)
    except ValueError:
        return Power()
    return Power(**{name: bool(bits & mask) for name, mask in {**_NOW, **_BEFORE}.items()})


def vcgencmd() -> str | None:
    """`throttled=0x50005`, or None where there is no such tool or it does not answer."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=2, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def disk(folder: Path, root: Path = Path("/"), files: FileSystem = FILE_SYSTEM, *, probe: bool = True) -> Disk:
    """The disk that `folder` lies on, and with `probe` whether it takes what is written: a small file is."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    total = free = None
    with contextlib.suppress(OSError):
        usage = os.statvfs(there)
        total, free = usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize
    return Disk(str(folder), total, free, file_system(there, root), _problem(folder, there, files) if probe else None)


def _problem(folder: Path, there: Path, files: FileSystem) -> str | None:
    if there != folder:  # it is made at the first start
        return None if os.access(there, os.W_OK) else f"it is not there, and {there} does not let it be made."
    probe = folder / PROBE_FILE
    try:
        files.remove_tree(probe)
        files.write_file(probe, [b"is this disk written to?"])
    except OSError as error:
        return f"{error.strerror or error}."
    finally:
        with contextlib.suppress(OSError):
            files.remove_tree(probe)
    return None


def file_system(path: Path, root: Path = Path("/")) -> str:
    """Its kind (ext4, tmpfs, …) as the kernel names it; empty where it does not say."""
    try:
        lines = (root / "proc/self/mountinfo").read_text(errors="replace").splitlines()
        where = str(path.resolve())
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5 or not after:
            continue
        mounted = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = where == mounted or where.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best):  # the later mount lies on top
            best, kind = mounted, after.split()[0]
    return kind


def clock(now: Callable[[], float] = time.time) -> Clock:
    """The time of day, and whether the kernel was told that a time server keeps it right."""
    return Clock(now(), _synchronized())


def _synchronized() -> bool | None:
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state = adjtimex(ctypes.create_string_buffer(_LARGER_THAN_TIMEX))  # all zero: nothing is set, only read
    return None if state < 0 else state != _TIME_ERROR


def edge_tpu(root: Path = Path("/"), find: Callable[[str], str | None] = ctypes.util.find_library) -> EdgeTpu:
    """What is plugged in, and whether its library is there."""
    try:
        devices = tuple(edgetpu.devices(root))
    except (OSError, RuntimeError):  # pycoral talks to the driver
        devices = ()
    return EdgeTpu(devices, not devices or _has_library(find))


def _has_library(find: Callable[[str], str | None]) -> bool:
    if find("edgetpu") is not None:
        return True
    try:
        ctypes.CDLL(edgetpu.DELEGATE)  # a library in LD_LIBRARY_PATH is not in the index that `find` asks
    except OSError:
        return False
    return True
