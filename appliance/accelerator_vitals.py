"""How busy and how hot the accelerator is, as far as that can be asked without root and without a library of its maker.

Jetson                 /sys/devices/platform/gpu.0/load and its older and newer places, per mille; the thermal zone of
                       the GPU, thousandths of a degree, which cannot be read while the GPU is switched off
Edge TPU over PCIe     /sys/class/apex/apex_*/temp, thousandths of a degree (Coral's "PCIe parameters overview"); how
                       busy it is it does not tell, and over USB it tells nothing
NVIDIA in a PC         `nvidia-smi`, a child process
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

JETSON_LOADS = (
    "sys/devices/platform/gpu.0/load",
    "sys/devices/gpu.0/load",
    "sys/class/devfreq/*.g[abmpv][0-9][0-9]b/device/load",
    "sys/class/devfreq/*.gpu/device/load",
    "sys/devices/platform/bus@0/*.gpu/load",
)
"""Which of them there are depends on the board and its JetPack."""

ZONES = "sys/class/thermal/thermal_zone*"
GPU_ZONE = re.compile(r"gpu-?therm(al)?", re.IGNORECASE)
APEX = "sys/class/apex/apex_*/temp"

QUERY = ("--query-gpu=utilization.gpu,temperature.gpu", "--format=csv,noheader,nounits")

EVERY_S = 2.0
"""Between two children."""

LONGEST_S = 2.0
"""One that takes longer is ended."""

LEFT_ALONE_S = 60.0
"""After one that failed."""

FIND_EVERY_S = 30.0
"""Between two searches for files."""

Ask = Callable[[Sequence[str]], str | None]


@dataclass(frozen=True)
class AcceleratorVitals:
    """Percent of the time that the busiest one works, and degrees Celsius of the hottest one; None where nothing tells."""

    load: float | None = None
    temperature: float | None = None


class Accelerators:
    """Looks at those of the machine below `root`. Every look blocks for a moment, at the worst for `LONGEST_S`.

    `ask` runs a command; see `ask_child`. `clock` counts seconds and never jumps. Any thread may look.
    """

    def __init__(
        self, root: Path = Path("/"), ask: Ask | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._root = root
        self._clock = clock
        self._smi = NvidiaSmi(ask or ask_child, clock)
        self._places = Places()
        self._look_again = 0.0
        self._turn = Lock()

    def look(self) -> AcceleratorVitals:
        """How they are now."""
        with self._turn:
            if self._clock() >= self._look_again:
                self._places = find(self._root)
                self._look_again = self._clock() + FIND_EVERY_S
            if not self._places:
                return self._smi.look()
            loads = [each for each in _numbers(self._places.loads) if each >= 0]
            heat = [each / 1000 for each in _numbers(self._places.heat) if 0 < each < 150_000]
            return AcceleratorVitals(min(100.0, max(loads) / 10) if loads else None, max(heat, default=None))


class Places(NamedTuple):
    """Files that tell: the load in per mille, the heat in thousandths of a degree."""

    loads: tuple[Path, ...] = ()
    heat: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.loads or self.heat)


def find(root: Path) -> Places:
    """What there is on the machine below `root`; some of it appears only a while after the start of a board."""
    loads = next((found for pattern in JETSON_LOADS if (found := _all(root, pattern))), ())
    zones = [zone / "temp" for zone in _all(root, ZONES) if GPU_ZONE.fullmatch(_text(zone / "type"))]
    return Places(loads, (*zones, *_all(root, APEX)))


class NvidiaSmi:
    """Asks `nvidia-smi`, now and then; in between it says the same again."""

    def __init__(self, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._next = 0.0
        self._said = AcceleratorVitals()

    def look(self) -> AcceleratorVitals:
        """How the GPUs were at most some seconds ago."""
        if self._clock() >= self._next:
            answer = self._ask(("nvidia-smi", *QUERY))
            self._said = AcceleratorVitals() if answer is None else parse(answer)
            told = self._said != AcceleratorVitals()
            self._next = self._clock() + (EVERY_S if told else LEFT_ALONE_S)
        return self._said


def parse(answer: str) -> AcceleratorVitals:
    """What `nvidia-smi` says: a line `utilization, temperature` for each GPU, `[N/A]` for what it does not know. Pure."""
    lines = [line.split(",") for line in answer.splitlines()]
    loads, heat = ([int(line[i]) for line in lines if len(line) == 2 and line[i].strip().isdigit()] for i in (0, 1))
    return AcceleratorVitals(
        max((float(each) for each in loads if each <= 100), default=None), max(map(float, heat), default=None)
    )


def ask_child(command: Sequence[str]) -> str | None:
    """What a program prints; None where there is no such program, or it fails, or takes too long."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _all(root: Path, pattern: str) -> tuple[Path, ...]:
    try:
        return tuple(sorted(root.glob(pattern)))
    except OSError:
        return ()


def _numbers(paths: Iterable[Path]) -> list[int]:
    found = []
    for path in paths:
        try:
            found.append(int(_text(path)))
        except ValueError:
            continue  # it is switched off
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
