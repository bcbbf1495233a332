"""The page of the outbox: that it is as quick, and the box as free, with a hundred thousand waiting as with a hundred."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.goals import Goal
from tests.bench.incidents import Incident
from tests.bench.measures import median

MANY = 100_000
QUICK_MS = 50.0
"""What people take for at once, with room for the network."""

LATE_MS = 30.0
"""How late the event loop may get to anything while the page is at work: a third of what 10 pictures a second leave."""


def measure(folder: Path, times: int) -> Incident:
    """Look, change, export all and delete all; see `outbox_page_process`."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.bench.outbox_page_process", folder / "few", folder / "many"]
    command += ["--pictures", MANY, "--times", times]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    goals = [
        Goal(
            f"{name}, {MANY:,} waiting", median(many) * 1e3, "≤", QUICK_MS, "ms", f"{median(few) * 1e3:.2f} ms with 100"
        )
        for name, few, many in ((name, told["few"][name], told["many"][name]) for name in LOOKS)
    ]
    goals += [
        Goal(
            f"{name}, {MANY:,} waiting", median(told["many"][name]) / median(told["few"][name]), "≤", 1.5, "x",
            f"{median(told['many'][name]) * 1e3:.0f} against {median(told['few'][name]) * 1e3:.0f} ms with 100",
        )
        for name in DEEDS
    ]  # fmt: skip
    exported, cleared = told["export"], told["clear"]
    if cleared["left"] or not cleared["looks"]:
        raise RuntimeError(f"{cleared['left']} pictures are left of all that were to be deleted.")
    goals += [
        Goal(
            f"exporting {MANY:,} pictures: memory that it needs", exported["grew_mib"], "≤", 60, "MiB",
            f"{exported['bytes'] / 1e6:.0f} MB in {exported['seconds']:.0f} s",
        ),
        Goal(
            f"deleting {MANY:,} pictures: first page meanwhile", median(cleared["looks"]) * 1e3, "≤", 1000, "ms",
            f"{cleared['seconds']:.0f} s in all",
        ),
        Goal(
            "the event loop is late meanwhile, 99th percentile",
            max(told["late"][what]["p99"] for what in ("looking", "exporting", "deleting")), "≤", LATE_MS, "ms",
            "; ".join(f"{what} {late['p99']:.0f}, worst {late['worst']:.0f} ms" for what, late in told["late"].items()),
        ),
    ]  # fmt: skip
    return Incident(goals, told)


LOOKS = ("what is so now", "first page", "page in the middle", "four small pictures")
DEEDS = ("send 24 first", "send 24 again", "delete 24")
