"""What the dashboard costs: beside detections that go on, and when nothing happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.children import LineProcess
from tests.bench.contestants import appliance
from tests.bench.goals import Goal
from tests.bench.incidents import Incident
from tests.bench.load import Clients
from tests.bench.measures import Sample, median, percentile
from tests.bench.processes import cpu_seconds
from tests.bench.rounds import run_stage

OPEN = 3
CAMERAS = 4
LIMIT = 1.1
IDLE_LIMIT = 1.0
IDLE_ROUNDS = 3
PART_OF_STAGE = 2
"""Stages are so many times shorter, and rounds more, than elsewhere: the closer two stages follow each other, the less what
others do on the machine differs between them.
"""
SETTLED = 1.5
"""Seconds after which a page that was opened or closed costs nothing more for that."""


@dataclass(frozen=True)
class Seen:
    """What visitors were sent while something was measured."""

    updates: int
    pictures: int
    cpu_seconds: float


class Visitors:
    """Pages that are open: see `tests/bench/visitors.py`."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process
        self._open = 0
        process.hear()

    def have_open(self, count: int) -> None:
        """So many, from now on."""
        self._open = count
        self._told()
        time.sleep(SETTLED)
        self._told()

    def seen(self) -> Seen:
        """Since they were opened, or this was asked. Raises RuntimeError if they were sent nothing, or cut off."""
        told = self._told()
        if told["open"] != self._open:
            raise RuntimeError(f"Of {self._open} pages only {told['open']} stayed connected.")
        if self._open and not told["updates"]:
            raise RuntimeError("The open pages were sent nothing: nothing would be measured.")
        return Seen(told["updates"], told["pictures"], told["cpu_seconds"])

    def _told(self) -> dict[str, Any]:
        self._process.tell({"open": self._open})
        told: dict[str, Any] = self._process.hear()
        return told


def measure(clients: Clients, folder: Path, rounds: int, seconds: float) -> Incident:
    """In turns: `seconds` of one client's pictures of four cameras with no page open and with three; then without any."""
    samples: dict[int, list[Sample]] = {0: [], OPEN: []}
    idle: dict[int, list[float]] = {0: [], 1: [], OPEN: []}
    seen: list[Seen] = []
    with appliance(folder) as server:
        command = [sys.executable, "-m", "tests.bench.visitors", "--port", str(server.port)]
        with LineProcess(command, folder / "visitors.log") as process:
            visitors = Visitors(process)

            def stage(length: float) -> Sample:
                return clients.load(1, server.port, server.pid, seconds=length, autoupload="disabled", cameras=CAMERAS)

            for number in range(rounds * PART_OF_STAGE + 1):
                for count in _in_turn(tuple(samples), number):
                    visitors.have_open(count)
                    sample = run_stage(stage, seconds / PART_OF_STAGE)
                    told = visitors.seen()
                    if number == 0:
                        continue  # nobody is warm before the first round
                    samples[count].append(sample)
                    if count:
                        seen.append(told)
            for number in range(IDLE_ROUNDS):
                for count in _in_turn(tuple(idle), number):
                    visitors.have_open(count)
                    idle[count].append(_percent_of_a_core(server.pid, 2 * seconds))
                    visitors.seen()
    if not all(each.pictures for each in seen):
        raise RuntimeError("The open pages were shown no pictures: their share would not be measured.")
    return Incident(
        [*_beside_detections(samples, seen, seconds / PART_OF_STAGE), *_idle(idle)],
        {
            "samples": {str(count): [sample.as_json() for sample in samples[count]] for count in samples},
            "idle_percent": {str(count): values for count, values in idle.items()},
            "seen": [vars(each) for each in seen],
        },
    )


def _in_turn(counts: Sequence[int], number: int) -> Sequence[int]:
    return counts if number % 2 == 0 else counts[::-1]


def _percent_of_a_core(pid: int, seconds: float) -> float:
    """What the server and its children use."""
    began, used = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - used) / (time.monotonic() - began)


def _beside_detections(samples: dict[int, list[Sample]], seen: Sequence[Seen], seconds: float) -> list[Goal]:
    without, with_pages = samples[0], samples[OPEN]
    pairs = list(zip(without, with_pages, strict=True))
    middle = {count: median([sample.p50 for sample in samples[count]]) for count in samples}
    tail = {count: median([percentile(sample.milliseconds, 95) for sample in samples[count]]) for count in samples}
    ratios = [pages.p50 / none.p50 for none, pages in pairs]
    tails = [percentile(pages.milliseconds, 95) / percentile(none.milliseconds, 95) for none, pages in pairs]
    shown = median([each.pictures / seconds / OPEN for each in seen])
    cost = median([_server_percent(pages) - _server_percent(none) for none, pages in pairs])
    others = median([sample.others for sample in [*without, *with_pages]])
    what = f"{OPEN} dashboards open against none, 1 client"
    failures = sum(len(sample.failures) for sample in [*without, *with_pages])
    return [
        Goal(
            f"{what}: p50",
            median(ratios),
            "≤",
            LIMIT,
            "x",
            f"{middle[OPEN]:.1f} against {middle[0]:.1f} ms; {min(ratios):.2f} to {max(ratios):.2f} in {len(pairs)}"
            f" rounds; each page was shown {shown:.1f} pictures/s of {CAMERAS} cameras, which cost {cost:.1f} % of a core;"
            f" others used {others:.0%} of the machine",
        ),
        Goal(
            f"{what}: p95",
            median(tails),
            "≤",
            1.25,
            "x",
            f"{tail[OPEN]:.1f} against {tail[0]:.1f} ms; {min(tails):.2f} to {max(tails):.2f}",
        ),
        Goal(f"{what}: failures", failures, "≤", 0, ""),
    ]


def _server_percent(sample: Sample) -> float:
    """What the server without its worker used, of one core."""
    return 100 * (sample.cpu_seconds - sample.worker_cpu_seconds) / sample.seconds


def _idle(idle: dict[int, list[float]]) -> list[Goal]:
    nobody = median(idle[0])

    def goal(count: int, limit: float) -> Goal:
        more = [some - none for none, some in zip(idle[0], idle[count], strict=True)]
        pages = "1 dashboard" if count == 1 else f"{count} dashboards"
        detail = (
            f"% of one core; {median(idle[count]):.2f} against {nobody:.2f} with nobody looking;"
            f" {min(more):.2f} to {max(more):.2f} in {len(more)} rounds"
        )
        return Goal(f"{pages} open, nothing detected: CPU more than with none", median(more), "≤", limit, "%", detail)

    return [
        goal(1, IDLE_LIMIT),
        goal(OPEN, OPEN * IDLE_LIMIT),
        Goal("nobody looking, nothing detected: CPU", nobody, "≤", IDLE_LIMIT, "%", "of one core"),
    ]
