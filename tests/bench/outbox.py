"""The outbox: how fast it empties beside others, what saving costs when much waits, and what much that waits costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
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

MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""


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
    """Send a thousand pictures of 200 kB to a Loop on loopback: the appliance and bare httpx loops in turns.

    Once from this disk, and once from memory: deleting what was sent is a matter of the disk, not of the program.
    """
    folder.mkdir()
    with _sink(folder) as (_, host):
        disk = _rounds(folder / "outbox", host, rounds, ("drain", "bare", "bare-deleting"))
        with tempfile.TemporaryDirectory(prefix="bench-", dir=MEMORY if MEMORY.is_dir() else folder) as memory:
            ram = _rounds(Path(memory) / "outbox", host, rounds, ("drain", "bare"))
        theirs = _upstream(folder / "upstream", host) if upstream else None
    with _sink(folder, "--delay", str(ROUND_TRIP_S)) as (_, host):
        far = _rounds(folder / "outbox", host, max(1, rounds // 3), ("drain",))["drain"]
    known = UPSTREAM_RATE if theirs is None else theirs.rate
    goals = [
        _beside_upstream("draining on loopback: rate against upstream's", disk["drain"], known, 25),
        _against("draining on loopback, from memory: rate against a bare httpx loop", ram),
        _against("draining on loopback, from this disk: rate against a bare httpx loop", disk),
        _beside_upstream(
            f"draining with {ROUND_TRIP_S * 1e3:.0f} ms round trip: rate against upstream's", far, known, 15
        ),
    ]
    if theirs is not None:
        cpu, bare_cpu = (median([each.cpu_ms for each in disk[what]]) for what in ("drain", "bare"))
        detail = f"{cpu:.2f} against {theirs.cpu_ms:.2f} ms; the bare loop, which deletes nothing: {bare_cpu:.2f} ms"
        goals.append(Goal("draining: CPU per picture against upstream's", cpu / theirs.cpu_ms, "≤", 1, "x", detail))
    details = {
        name: {what: [vars(each) for each in results] for what, results in found.items()}
        for name, found in (("disk", disk), ("memory", ram), ("far", {"drain": far}))
    }
    return Incident(goals, {**details, "upstream": None if theirs is None else vars(theirs)})


def _rounds(outbox: Path, host: str, rounds: int, contestants: Sequence[str]) -> dict[str, list[Drained]]:
    found: dict[str, list[Drained]] = {what: [] for what in contestants}
    for number in range(rounds):
        for what in contestants if number % 2 == 0 else reversed(contestants):
            shutil.rmtree(outbox, ignore_errors=True)
            _process("fill", outbox, "--pictures", PICTURES, "--bytes", SIZE)
            found[what].append(Drained(**_process(what, outbox, "--loop", host)))
    return found


def _beside_upstream(what: str, ours: list[Drained], theirs: float, limit: float) -> Goal:
    rate = median([each.rate for each in ours])
    return Goal(what, rate / theirs, "≥", limit, "x", f"{rate:.0f} against {theirs:.1f} /s")


def _against(what: str, found: dict[str, list[Drained]]) -> Goal:
    ratios = [ours.rate / bare.rate for ours, bare in zip(found["drain"], found["bare"], strict=True)]
    rates = {name: median([each.rate for each in results]) for name, results in found.items()}
    detail = f"{rates['drain']:.0f} against {rates['bare']:.0f} /s"
    if "bare-deleting" in rates:
        detail += f"; a bare loop that deletes what was sent, too: {rates['bare-deleting']:.0f} /s"
    return Goal(what, median(ratios), "≥", 0.6, "x", detail)


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
