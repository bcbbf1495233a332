"""How the machine fares: processor, memory, temperature, power, disk. As Linux tells it; what it does not tell is None."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.accelerator_vitals import Accelerators, AcceleratorVitals

HOT = 80.0
"""Degrees Celsius from which small boards slow down."""

UNDER_VOLTAGE_NOW = 0x1
"""Bit of the Raspberry Pi firmware's `get_throttled`."""


@dataclass(frozen=True)
class Vitals:
    """Share of the processor since the look before and of the memory, percent; degrees Celsius of the hottest part;
    whether the power supply is too weak; bytes that are free on the disk of the data.
    """

    cpu: float | None = None
    memory: float | None = None
    temperature: float | None = None
    under_voltage: bool = False
    free_bytes: int | None = None
    accelerator: AcceleratorVitals = field(default_factory=AcceleratorVitals)


class Machine:
    """Looks at the machine below `root`, and at its `accelerators` where they are given. Every look blocks for a moment."""

    def __init__(self, data: Path, root: Path = Path("/"), accelerators: Accelerators | None = None) -> None:
        self._data = data
        self._root = root
        self._accelerators = accelerators
        self._before: tuple[int, int] | None = None

    def look(self) -> Vitals:
        """How it is now. `cpu` is None the first time."""
        return Vitals(
            self._cpu(),
            self._memory(),
            self._temperature(),
            self._under_voltage(),
            self._free_bytes(),
            AcceleratorVitals() if self._accelerators is None else self._accelerators.look(),
        )

    def _cpu(self) -> float | None:
        times = [int(word) for word in (self._read("proc/stat") or "").partition("\n")[0].split()[1:9]]
        if len(times) < 5:
            return None
        now = sum(times), times[3] + times[4]  # idle, and waiting for the disk
        before, self._before = self._before, now
        if before is None or now[0] <= before[0]:
            return None
        return 100.0 * (1.0 - (now[1] - before[1]) / (now[0] - before[0]))

    def _memory(self) -> float | None:
        found = dict(
            re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", self._read("proc/meminfo") or "", re.MULTILINE)
        )
        if len(found) < 2 or int(found["MemTotal"]) == 0:
            return None
        return 100.0 * (1.0 - int(found["MemAvailable"]) / int(found["MemTotal"]))

    def _temperature(self) -> float | None:
        zones = self._numbers(self._below("sys/class/thermal", "thermal_zone*/temp"))
        sensors = [] if zones else self._numbers(self._below("sys/class/hwmon", "hwmon*/temp*_input"))
        sane = [value / 1000 for value in zones or sensors if 0 < value < 150_000]
        return max(sane, default=None)

    def _under_voltage(self) -> bool:
        throttled = self._read("sys/devices/platform/soc/soc:firmware/get_throttled")
        if throttled is not None:
            try:
                return bool(int(throttled, 16) & UNDER_VOLTAGE_NOW)
            except ValueError:
                return False
        return any(self._numbers(self._below("sys/class/hwmon", "hwmon*/in0_lcrit_alarm")))

    def _free_bytes(self) -> int | None:
        try:
            disk = os.statvfs(self._data)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize

    def _below(self, folder: str, pattern: str) -> list[Path]:
        try:
            return sorted((self._root / folder).glob(pattern))
        except OSError:
            return []

    def _numbers(self, paths: Iterable[Path]) -> list[int]:
        found = []
        for path in paths:
            try:
                found.append(int(path.read_text()))
            except (OSError, ValueError):
                continue  # a sensor that is switched off
        return found

    def _read(self, path: str) -> str | None:
        try:
            return (self._root / path).read_text()
        except (OSError, UnicodeDecodeError):
            return None
