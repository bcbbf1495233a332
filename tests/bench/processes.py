"""CPU time and memory of a process and all its children, as the kernel counts them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

WORKER_MARK = "appliance.inference.worker"
"""What stands on the command line of an inference worker."""


@dataclass(frozen=True)
class Memory:
    """Memory of a whole process tree in MiB. RSS counts a page once per process that maps it; PSS counts it once."""

    rss: float
    pss: float


def tree(pid: int) -> list[psutil.Process]:
    """The process `pid` and all its descendants that live."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """CPU time that the tree of `pid` has used since it began, children that have died and were waited for included."""
    total = 0.0
    for process in tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def worker_cpu_seconds(pid: int) -> float:
    """CPU time that the inference workers below `pid` have used since they began; those that have died are left out."""
    total = 0.0
    for worker in workers(pid):
        try:
            times = psutil.Process(worker).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def machine_cpu_seconds() -> float:
    """CPU time that everybody on this machine has used since it started, all cores together."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def memory(pid: int) -> Memory:
    """Memory of the tree of `pid` as it is now."""
    rss = pss = 0.0
    for process in tree(pid):
        try:
            info = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        rss += info.rss / 2**20
        pss += info.pss / 2**20
    return Memory(rss=rss, pss=pss)


def workers(pid: int) -> list[int]:
    """Process ids of the inference workers below `pid`, the youngest first."""
    found: list[tuple[float, int]] = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if any(WORKER_MARK in argument for argument in process.cmdline()):
                found.append((process.create_time(), process.pid))
        except psutil.NoSuchProcess:
            continue
    return [worker for _, worker in sorted(found, reverse=True)]


def wait_for_other_worker(pid: int, dead: int, timeout: float) -> int:
    """Process id of a worker below `pid` that is not `dead`. Raises TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        alive: Sequence[int] = [worker for worker in workers(pid) if worker != dead]
        if alive:
            return alive[0]
        time.sleep(0.02)
    raise TimeoutError(f"No inference worker came up within {timeout:.0f} s.")
