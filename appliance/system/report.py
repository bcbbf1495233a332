"""What the machine is and how it fares, as REST, the dashboard and the support bundle tell it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import cache

from appliance.services import Services
from appliance.system import looking
from appliance.system.board import Board, board, versions
from appliance.system.facts import Disk, Power
from appliance.vitals import Machine, Vitals
from models.runtimes import nvidia


@dataclass(frozen=True)
class Accelerators:
    """`runtime` is how the model runs (None: it does not), `degraded` why that is not the best way; what is plugged in."""

    runtime: str | None
    degraded: str | None
    edge_tpus: tuple[str, ...]
    gpu: str | None


@dataclass(frozen=True)
class SystemReport:
    """All of it. `uptime` is the seconds since this program started."""

    board: Board
    accelerators: Accelerators
    disk: Disk
    vitals: Vitals
    power: Power
    versions: dict[str, str]
    uptime: float


async def report(services: Services) -> SystemReport:
    """Looks in a thread."""
    serving = services.supervisor.serving
    runtime = (str(serving.choice), serving.degraded) if serving is not None else (None, None)
    return await asyncio.to_thread(_look, services, *runtime)


def _look(services: Services, runtime: str | None, degraded: str | None) -> SystemReport:
    folder = services.settings.data_folder
    return SystemReport(
        board=board(),
        accelerators=Accelerators(runtime, degraded, looking.edge_tpu().devices, _gpu()),
        disk=looking.disk(folder, probe=False),
        vitals=Machine(folder, accelerators=services.accelerators).look(),
        power=looking.power(),
        versions=versions(),
        uptime=time.monotonic() - services.started,
    )


@cache
def _gpu() -> str | None:
    """Asking takes up to seconds, and the answer does not change while the machine runs."""
    gpu = nvidia.identity()
    return f"{gpu.name}, driver {gpu.driver}" if gpu is not None else None
