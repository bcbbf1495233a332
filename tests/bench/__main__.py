"""`python -m tests.bench`: measures the appliance beside the bare loop and the upstream node, and prints a table.

Nothing is pinned to a core and nobody is told to be quiet: contestants take turns instead, and ratios are quoted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import autoupload, dashboard, fleet, incidents, machine, outbox, outbox_page, relevance, rounds
from tests.bench.contestants import BareLoops, appliance, bare_loop, plain_server, upstream_node
from tests.bench.goals import Goal, table
from tests.bench.load import Clients
from tests.bench.photograph import write_photograph
from tests.bench.processes import memory

PARTS = (
    "rounds",
    "swap",
    "kill",
    "memory",
    "start",
    "relevance",
    "autoupload",
    "dashboard",
    "fleet",
    "drain",
    "save",
    "page",
)


@dataclass(frozen=True)
class Effort:
    """How long everything takes. `seconds` is per stage of a round."""

    rounds: int
    seconds: float
    swaps: int
    kills: int
    pictures: tuple[int, int]
    starts: int
    decisions: int
    outage: float


THOROUGH = Effort(
    rounds=7, seconds=10.0, swaps=6, kills=10, pictures=(1_000, 10_000), starts=5, decisions=2_000, outage=60.0
)
QUICK = Effort(rounds=3, seconds=4.0, swaps=2, kills=3, pictures=(300, 1_500), starts=2, decisions=300, outage=15.0)


def main() -> int:
    """Measure what was asked for; 0 if every goal was met, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about 4 minutes instead of 25")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts to measure")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads of LiteRT (all cores)")
    parser.add_argument("--without-upstream", action="store_true", help="leave out the upstream node")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    arguments = parser.parse_args()

    report: dict[str, Any] = {"machine": machine.describe(), "quick": arguments.quick}
    for key, value in report["machine"].items():
        print(f"{key}: {value}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        goals = measure(arguments, QUICK if arguments.quick else THOROUGH, Path(folder), report)
    print(f"\n{table(goals)}")
    report["goals"] = [goal.as_json() for goal in goals]
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(goal.met for goal in goals) else 1


def measure(arguments: argparse.Namespace, effort: Effort, folder: Path, report: dict[str, Any]) -> list[Goal]:
    """Run the parts that were asked for; details go into `report`."""
    picture = folder / "photograph.jpg"
    write_photograph(picture)
    goals: list[Goal] = []
    with ExitStack() as stack:
        clients = Clients(rounds.MANY, picture, folder, stack)
        if "rounds" in arguments.only:
            goals += measure_rounds(arguments, effort, folder, picture, clients, report)
        for part in [part for part in PARTS[1:] if part in arguments.only]:
            say(part)
            incident = measure_incident(part, effort, folder, picture, clients, upstream=not arguments.without_upstream)
            goals += incident.goals
            report[part] = incident.details
    return goals


def measure_rounds(
    arguments: argparse.Namespace, effort: Effort, folder: Path, picture: Path, clients: Clients, report: dict[str, Any]
) -> list[Goal]:
    """Everything that is a ratio, with all contestants running for the whole time."""
    runtime = f"litert/cpu/{arguments.threads}"
    with ExitStack() as stack:
        other = BareLoops([stack.enter_context(bare_loop(picture, f"onnx/cpu/{arguments.threads}", folder))])
        bare = BareLoops([stack.enter_context(bare_loop(picture, runtime, folder)) for _ in range(2)])
        servers = {
            "appliance, same runtime": stack.enter_context(appliance(folder / "same", {"RUNTIME": runtime})),
            "appliance, own choice": stack.enter_context(appliance(folder / "own")),
            rounds.PLAIN: stack.enter_context(plain_server(runtime, folder / "plain_server.log")),
        }
        if not arguments.without_upstream:
            servers["upstream node"] = stack.enter_context(upstream_node(folder / "upstream", arguments.threads))
        measured = rounds.run_rounds(rounds.stages(bare, other, clients, servers), effort.rounds, effort.seconds, say)
        sizes = {name: memory(server.pid) for name, server in servers.items()}
        choices = {name: about(server.port).get("runtime") for name, server in servers.items()}
    print(f"\nruntime of the bare loop: {runtime}; medians of {effort.rounds} rounds\n\n{samples_table(measured)}")
    for name, size in sizes.items():
        print(f"{name}: runs {choices[name] or runtime}, RSS {size.rss:.0f} MiB, PSS {size.pss:.0f} MiB")
    report["rounds"] = {name: [sample.as_json() for sample in samples] for name, samples in measured.samples.items()}
    report["runtimes"] = choices
    report["memory_after_rounds"] = {name: vars(size) for name, size in sizes.items()}
    return rounds.goals(measured)


def measure_incident(
    part: str, effort: Effort, folder: Path, picture: Path, clients: Clients, *, upstream: bool
) -> incidents.Incident:
    """One of the scenarios, on a server and a data folder of its own."""
    if part == "start":
        return incidents.start(picture, folder, effort.starts, incidents.seconds_to_first_detection)
    if part == "relevance":
        return relevance.measure(effort.decisions)
    if part == "autoupload":
        return autoupload.measure(clients, folder / part, effort.rounds, effort.seconds)
    if part == "dashboard":
        return dashboard.measure(clients, folder / part, effort.rounds, effort.seconds)
    if part == "fleet":
        return fleet.measure(folder / part, effort.outage)
    if part == "drain":
        return outbox.drain(folder / part, effort.rounds, upstream=upstream)
    if part == "page":
        return outbox_page.measure(folder / part, effort.decisions // 20)
    if part == "save":
        return outbox.save(folder / part, effort.decisions // 2, effort.starts)
    data_folder = folder / part
    if part == "swap":
        data_folder.mkdir()
        incidents.add_model(data_folder, incidents.second_version(folder))
    with appliance(data_folder) as server:
        if part == "swap":
            return incidents.swap(clients, server, effort.swaps, before_seconds=2 * effort.seconds)
        if part == "kill":
            return incidents.kill_workers(clients, server, effort.kills)
        return incidents.memory_over_time(clients, server, *effort.pictures)


def about(port: int) -> dict[str, Any]:
    """What a detector says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/about", timeout=10) as answer:
        said: dict[str, Any] = json.loads(answer.read())
        return said


def samples_table(measured: rounds.Rounds) -> str:
    """Medians over the rounds of every stage, as a Markdown table."""
    columns = {
        "p50 ms": lambda sample: sample.p50,
        "p99 ms": lambda sample: sample.p99,
        "pictures/s": lambda sample: sample.per_second,
        "CPU ms per picture": lambda sample: sample.cpu_ms,
        "of these the worker": lambda sample: sample.worker_cpu_ms,
        "clients' CPU ms": lambda sample: sample.clients_cpu_ms,
        "failures": lambda sample: len(sample.failures),
        "others on the machine %": lambda sample: sample.others * 100,
    }
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for stage in measured.samples:
        cells = [f"{measured.middle(stage, read):.1f}" for read in columns.values()]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
