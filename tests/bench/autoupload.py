"""What keeping every picture for the Loop adds to the answers of /detect."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.contestants import appliance
from tests.bench.goals import Goal
from tests.bench.incidents import Incident
from tests.bench.load import Clients
from tests.bench.measures import Sample, median

ROOM = {"MAX_OUTBOX_SIZE": "1000000", "MAX_OUTBOX_MB": "1000000"}
"""A full outbox would be cheaper: whatever comes then is turned away."""

MODES = ("disabled", "all")
LIMIT = 1.1


def measure(clients: Clients, folder: Path, rounds: int, seconds: float) -> Incident:
    """One client sends, in turns: `seconds` of pictures of which none is kept, as many of which all are."""
    samples: dict[str, list[Sample]] = {mode: [] for mode in MODES}
    with appliance(folder, ROOM) as server:

        def stage(mode: str) -> Sample:
            return clients.load(1, server.port, server.pid, seconds=seconds, autoupload=mode)

        for mode in MODES:
            stage(mode)
        for number in range(rounds):
            for mode in MODES if number % 2 == 0 else reversed(MODES):
                samples[mode].append(stage(mode))
                _until(lambda: _picks(server.port)["waiting"] == 0)
                _empty(folder / "outbox")
        picks = _picks(server.port)
    ratio = median([kept.p50 / not_kept.p50 for not_kept, kept in zip(*samples.values(), strict=True)])
    middle = {mode: median([sample.p50 for sample in samples[mode]]) for mode in MODES}
    failures = sum(len(sample.failures) for mode in MODES for sample in samples[mode])
    dropped = {reason: count for reason, count in picks["dropped"].items() if count}
    detail = (
        f"{middle['all']:.1f} against {middle['disabled']:.1f} ms; {picks['kept']} of {picks['wanted']} pictures kept"
    )
    return Incident(
        [
            Goal("autoupload all against disabled, 1 client: p50", ratio, "≤", LIMIT, "x", detail),
            Goal("autoupload all and disabled: failures", failures, "≤", 0, ""),
        ],
        {
            "samples": {mode: [sample.as_json() for sample in samples[mode]] for mode in MODES},
            "picks": picks,
            "dropped": dropped,
        },
    )


def _picks(port: int) -> dict[str, Any]:
    """What the box says has become of the pictures that were to be kept."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/outbox", timeout=30) as answer:
        picks: dict[str, Any] = json.loads(answer.read())["picks"]
        return picks


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("The pictures did not get into the outbox within a minute.")
        time.sleep(0.1)


def _empty(outbox: Path) -> None:
    """As its owner may at any time; some gigabytes would gather otherwise."""
    for picture in (outbox / "normal").iterdir():
        shutil.rmtree(picture, ignore_errors=True)
