"""The outbox: how fast it empties beside others, what saving costs when much waits, and what much that waits costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.children import LineProcess
from tests.bench.goals import Goal
from tests.bench.incidents import Incident
from tests.bench.measures import median
from tests.e2e.peers import peer_venv

HERE = Path(__file__).parent

PICTURES = 1000
SIZE = 200_000
"""Bytes."""

UPSTREAM_PICTURES = 60
"""It sends 20 each 5 s, so a thousand would take four minutes and tell the same."""

UPSTREAM_RATE = 20 / 5
"""Pictures a second, by its design; it is measured all the same, where it is not left out."""

ROUND_TRIP_S = 0.3

FEW, MANY = 10, 100_000


@dataclass(frozen=True)
class Drained:
    """How one contestant has sent its pictures."""

    sent: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.sent / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a picture."""
        return self.cpu_seconds / self.sent * 1e3


def drain(folder: Path, rounds: int, *, upstream: bool) -> Incident:
    """Send a thousand pictures of 200 kB to a Loop on loopback: the appliance and a bare httpx loop in turns."""
    folder.mkdir()
    ours: list[Drained] = []
    bare: list[Drained] = []
    with _sink(folder) as (sink, host):
        for number in range(rounds):
            contestants = [("drain", ours), ("bare", bare)]
            for what, results in contestants if number % 2 == 0 else reversed(contestants):
                results.append(_drained(what, folder / "outbox", host))
                sink.tell({})
                got = sink.hear()
                if got["bytes"] < PICTURES * SIZE:
                    raise RuntimeError(f"{what} has sent {got['bytes']} bytes only.")
        theirs = _upstream(folder / "upstream", host) if upstream else None
    with _sink(folder, "--delay", str(ROUND_TRIP_S)) as (_, host):
        far = [_drained("drain", folder / "outbox", host) for _ in range(max(1, rounds // 3))]
    ratio = median([mine.rate / other.rate for mine, other in zip(ours, bare, strict=True)])
    rate, bare_rate = median([each.rate for each in ours]), median([each.rate for each in bare])
    far_rate = median([each.rate for each in far])
    cpu = median([each.cpu_ms for each in ours])
    known = UPSTREAM_RATE if theirs is None else theirs.rate
    goals = [
        Goal("draining on loopback: rate against upstream's", rate / known, "≥", 25, "x", f"{rate:.0f} against {known:.1f} /s"),
        Goal(
            "draining on loopback: rate against a bare httpx loop", ratio, "≥", 0.6, "x",
            f"{rate:.0f} against {bare_rate:.0f} /s",
        ),
        Goal(
            f"draining with {ROUND_TRIP_S * 1e3:.0f} ms round trip: rate against upstream's", far_rate / known, "≥", 15,
            "x", f"{far_rate:.0f} against {known:.1f} /s",
        ),
    ]  # fmt: skip
    if theirs is not None:
        bare_cpu = median([each.cpu_ms for each in bare])
        detail = f"{cpu:.2f} against {theirs.cpu_ms:.2f} ms; the bare loop, which deletes nothing: {bare_cpu:.2f} ms"
        goals.append(Goal("draining: CPU per picture against upstream's", cpu / theirs.cpu_ms, "≤", 1, "x", detail))
    details = {
        name: [vars(each) for each in results] for name, results in (("ours", ours), ("bare", bare), ("far", far))
    }
    return Incident(goals, {**details, "upstream": None if theirs is None else vars(theirs)})


def save(folder: Path, times: int, starts: int) -> Incident:
    """Save where ten pictures wait and where a hundred thousand do, in turns; and open the latter."""
    folder.mkdir()
    few, many = folder / "few", folder / "many"
    _process("fill", few, "--pictures", FEW, "--bytes", 1000)
    _process("fill", many, "--pictures", MANY, "--bytes", 1000)
    anew = _process("open", many)
    opened = [_process("open", many) for _ in range(starts)]
    nothing = _process("open", few)
    told = _process("save", few, many, "--times", times)
    middle = {name: median(values) * 1e3 for name, values in told["seconds"].items()}
    cpu = {name: median(values) * 1e3 for name, values in told["cpu"].items()}
    ratio = median([some / none for none, some in zip(told["seconds"]["few"], told["seconds"]["many"], strict=True)])
    start, grew = median([each["seconds"] for each in opened]), median([each["grew_mib"] for each in opened])
    if not all(each["waiting"] == MANY for each in (anew, *opened)):
        raise RuntimeError(f"Not all of the {MANY} pictures were found.")
    return Incident(
        [
            Goal(
                f"saving one picture with {MANY:,} waiting against {FEW}", ratio, "≤", 1.2, "x",
                f"{middle['many']:.2f} against {middle['few']:.2f} ms; CPU {cpu['many']:.2f} against {cpu['few']:.2f} ms",
            ),
            Goal(f"opening the outbox with {MANY:,} waiting", start, "≤", 5, "s"),
            Goal(f"the same without an index, which is made anew from {MANY:,} files", anew["seconds"], "≤", 5, "s"),
            Goal(
                f"memory that {MANY:,} waiting pictures need", grew, "≤", 40, "MiB",
                f"{nothing['grew_mib']:.1f} MiB with {FEW}; {anew['grew_mib']:.1f} MiB when the index is made anew",
            ),
        ],
        {"saved": told, "opened": opened, "opened_anew": anew, "opened_few": nothing},
    )  # fmt: skip


def _drained(what: str, outbox: Path, host: str) -> Drained:
    shutil.rmtree(outbox, ignore_errors=True)
    _process("fill", outbox, "--pictures", PICTURES, "--bytes", SIZE)
    return Drained(**_process(what, outbox, "--loop", host))


def _upstream(data: Path, host: str) -> Drained:
    data.mkdir()
    command = [peer_venv("learning-loop-node-0.27"), HERE / "upstream_outbox.py", data, "--loop", host]
    return Drained(**_run([*command, "--pictures", UPSTREAM_PICTURES, "--bytes", SIZE]))


def _process(what: str, *arguments: object) -> dict[str, Any]:
    return _run([sys.executable, "-m", "tests.bench.outbox_process", what, *arguments])


def _run(command: list[Any]) -> dict[str, Any]:
    """The last line of what it prints. Raises RuntimeError with its complaint."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@contextmanager
def _sink(folder: Path, *options: str) -> Iterator[tuple[LineProcess, str]]:
    with LineProcess([sys.executable, str(HERE / "sink.py"), *options], folder / "sink.log") as sink:
        yield sink, f"127.0.0.1:{sink.hear()['port']}"
