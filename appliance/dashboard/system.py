"""The machine and its log, as the page shows them."""

from __future__ import annotations

import asyncio
import logging

from appliance.logs import parse_level
from appliance.services import Services
from appliance.system.doctor import facts_of_box
from appliance.system.findings import Finding, findings
from appliance.system.report import SystemReport, report
from appliance.system.steering import restart_soon, set_log_level
from ui.kit.feed import Feed
from ui.ports import LogLevel, LogView, SystemView, Trouble

EVERY = 10.0
"""Seconds between two looks at the machine: a look at the disk writes a small file."""

LOGS_EVERY = 1.0

GIB = 2**30

PAGES = {
    "no_model": "/models",
    "model_refused": "/models",
    "disk_low": "/models",
    "outbox_full": "/outbox",
    "outbox_nearly_full": "/outbox",
    "outbox_rejected": "/outbox",
    "robot_refused": "/",
}
"""Where something is done about a finding."""


class System:
    """See `ui.ports.System`."""

    support_url = "/api/v1/support"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._feed: Feed[SystemView] = Feed("system", self._look, EVERY)
        self._logs: Feed[LogView] = Feed("logs", self._look_at_log, LOGS_EVERY)
        self.can_restart = services.restart is not None

    @property
    def feed(self) -> Feed[SystemView]:
        return self._feed

    @property
    def logs(self) -> Feed[LogView]:
        return self._logs

    async def _look(self) -> SystemView:
        told, facts = await asyncio.gather(report(self._services), facts_of_box(self._services))
        return SystemView(in_words(told), tuple(_trouble(each) for each in findings(facts)))

    async def _look_at_log(self) -> LogView:
        return LogView(self._services.logs.newest, _level(logging.getLogger().level))

    async def lines(self, level: LogLevel, contains: str, limit: int) -> tuple[str, ...]:
        found = await asyncio.to_thread(self._services.logs.lines, parse_level(level), contains, limit)
        return tuple(str(line) for line in found)

    async def set_log_level(self, level: str) -> None:
        set_log_level(level)

    async def restart(self) -> None:
        restart_soon(self._services)


def in_words(told: SystemReport) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Groups of facts; what is not known is left out."""
    board, disk, vitals, found = told.board, told.disk, told.vitals, told.accelerators
    machine = [
        ("Model", board.model),
        ("System", board.system),
        ("Kernel", f"{board.kernel}, {board.architecture}"),
        ("Processors", str(board.processors)),
    ]
    if board.memory_bytes is not None:
        used = f", {vitals.memory:.0f} % in use" if vitals.memory is not None else ""
        machine.append(("Memory", f"{board.memory_bytes / GIB:.1f} GiB{used}"))
    if vitals.temperature is not None:
        machine.append(("Temperature", f"{vitals.temperature:.0f} °C"))
    if board.uptime is not None:
        machine.append(("Switched on for", span(board.uptime)))
    runs = [("The model runs as", found.runtime or "none runs")]
    runs += [("Edge TPU", ", ".join(found.edge_tpus) or "none plugged in"), ("GPU", found.gpu or "none of NVIDIA's")]
    accelerator = vitals.accelerator
    if accelerator.load is not None:
        runs.append(("Accelerator in use", f"{accelerator.load:.0f} % of the time"))
    if accelerator.temperature is not None:
        runs.append(("Accelerator's temperature", f"{accelerator.temperature:.0f} °C"))
    kept = [("Data folder", disk.folder), ("File system", disk.file_system or "not known")]
    if disk.free is not None and disk.total:
        kept.append(("Free", f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB"))
    networks = [("Host name", board.host_name)]
    networks += [
        (each.name, (", ".join(each.addresses) or "no address") + ("" if each.up else " (down)"))
        for each in board.networks
    ]
    return (
        ("Board", tuple(machine)),
        ("Accelerators", tuple(runs)),
        ("Disk", tuple(kept)),
        ("Networks", tuple(networks)),
        ("Versions", (*told.versions.items(), ("Running for", span(told.uptime)))),
    )


def span(seconds: float) -> str:
    """Days and hours, or hours and minutes, or minutes."""
    minutes = int(seconds // 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _trouble(found: Finding) -> Trouble:
    return Trouble(found.severity, found.sentence, found.to_do, PAGES.get(found.code))


def _level(number: int) -> LogLevel:
    if number <= logging.DEBUG:
        return "DEBUG"
    if number <= logging.INFO:
        return "INFO"
    return "WARNING" if number <= logging.WARNING else "ERROR"
