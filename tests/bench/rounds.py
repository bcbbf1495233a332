"""Everything that is a ratio, measured in turns: each round runs every contestant, the next round in reverse order.

A machine that is shared gets slower and faster while the benchmark runs. Ratios are therefore taken within a round, and
the median over the rounds is quoted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.bench.contestants import BareLoops
from tests.bench.goals import Goal
from tests.bench.load import Clients
from tests.bench.measures import Sample, median
from tests.bench.processes import machine_cpu_seconds
from tests.e2e.server_process import ServerProcess

MANY = 16
"""Clients of the crowded case."""

PLAIN = "plain server"

Stage = Callable[[float], Sample]


@dataclass
class Rounds:
    """Samples by stage, one per round, all stages having run in every round."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def middle(self, stage: str, of: Callable[[Sample], float]) -> float:
        """Median over the rounds of what `of` reads from the samples of a stage; NaN where the stage did not run."""
        return median([of(sample) for sample in self.samples.get(stage, ())])

    def ratio(self, stage: str, base: str, of: Callable[[Sample], float]) -> float:
        """Median over the rounds of `stage` divided by `base`; NaN where one of them did not run."""
        pairs = zip(self.samples.get(stage, ()), self.samples.get(base, ()), strict=False)
        return median([of(one) / of(other) for one, other in pairs])

    def failures(self, *stages: str) -> int:
        """How many requests failed in these stages, all rounds together."""
        return sum(len(sample.failures) for stage in stages for sample in self.samples.get(stage, ()))


def stages(
    bare: BareLoops, other_bare: BareLoops, clients: Clients, servers: Mapping[str, ServerProcess]
) -> dict[str, Stage]:
    """What a round consists of: the bare loop once and twice, and every server with one client and with many.

    `other_bare` runs the model under the other runtime: it shows what choosing one can gain on this machine.
    """

    def server_stage(server: ServerProcess, count: int) -> Stage:
        return lambda seconds: clients.load(count, server.port, server.pid, seconds=seconds)

    chosen: dict[str, Stage] = {"bare loop, 1 copy": lambda seconds: bare.measure(seconds)}
    chosen["bare loop, other runtime"] = lambda seconds: other_bare.measure(seconds)
    chosen |= {f"{name}, 1 client": server_stage(server, 1) for name, server in servers.items()}
    chosen["bare loop, 2 copies"] = lambda seconds: bare.measure(seconds, copies=2)
    chosen |= {f"{name}, {MANY} clients": server_stage(server, MANY) for name, server in servers.items()}
    return chosen


def run_rounds(of: Mapping[str, Stage], count: int, seconds: float, say: Callable[[str], None]) -> Rounds:
    """Run all stages `count` times, `seconds` each, after one short round that is not counted."""
    for stage in of.values():
        stage(min(seconds, 2.0))
    rounds = Rounds({name: [] for name in of})
    for number in range(count):
        say(f"round {number + 1} of {count}")
        order: Sequence[str] = list(of) if number % 2 == 0 else list(reversed(list(of)))
        for name in order:
            rounds.samples[name].append(run_stage(of[name], seconds))
    return rounds


def run_stage(stage: Stage, seconds: float) -> Sample:
    """One stage, with what others did on the machine meanwhile."""
    began, used = time.monotonic(), machine_cpu_seconds()
    sample = stage(seconds)
    capacity = (time.monotonic() - began) * (os.cpu_count() or 1)
    others = machine_cpu_seconds() - used - sample.cpu_seconds - sample.clients_cpu_seconds
    return replace(sample, others=min(max(others / capacity, 0.0), 1.0))


def goals(rounds: Rounds) -> list[Goal]:
    """What the rounds have to show."""
    forced, auto, upstream = "appliance, same runtime", "appliance, own choice", "upstream node"
    one, two, many = "1 client", "bare loop, 2 copies", f"{MANY} clients"
    bare, other_bare, plain = "bare loop, 1 copy", "bare loop, other runtime", f"{PLAIN}, {one}"

    def p50(sample: Sample) -> float:
        return sample.p50

    def cpu(sample: Sample) -> float:
        return sample.cpu_ms

    def throughput(sample: Sample) -> float:
        return sample.per_second

    def p99(sample: Sample) -> float:
        return sample.p99

    def against(stage: str, base: str, of: Callable[[Sample], float], unit: str) -> str:
        return f"{rounds.middle(stage, of):.1f} against {rounds.middle(base, of):.1f} {unit}"

    def ratio(
        what: str,
        stage: str,
        base: str,
        of: Callable[[Sample], float],
        relation: str,
        limit: float,
        unit: str,
        bound: str | None = None,
    ) -> Goal:
        detail = against(stage, base, of, unit)
        if bound is not None:
            without = "" if bound.startswith(PLAIN) else " without any server"
            detail += f"; {bound}{without}: {rounds.ratio(bound, base, of):.2f} x"
        return Goal(what, rounds.ratio(stage, base, of), relation, limit, "x", detail)

    f1, f16, a1, a16 = f"{forced}, {one}", f"{forced}, {many}", f"{auto}, {one}", f"{auto}, {many}"
    u1, u16 = f"{upstream}, {one}", f"{upstream}, {many}"
    spread = median([sample.p99 / sample.p50 for sample in rounds.samples[f16]])
    found = [
        ratio("1 client: p50 against the bare loop", f1, bare, p50, "≤", 1.15, "ms", plain),
        ratio("1 client: CPU per picture against the bare loop", f1, bare, cpu, "≤", 1.10, "ms", plain),
        ratio(f"{many}: CPU per picture against two bare loops", f16, two, cpu, "≤", 1.15, "ms"),
        ratio(f"{many}: throughput against two bare loops", f16, two, throughput, "≥", 0.85, "/s"),
        Goal(f"{many}: p99 against its own p50", spread, "≤", 1.6, "x", f"p99 {rounds.middle(f16, p99):.0f} ms"),
        Goal("1 and many clients: failures", rounds.failures(f1, f16, a1, a16), "≤", 0, ""),
        ratio("own choice of runtime, 1 client: p50 against the bare loop", a1, bare, p50, "≤", 0.8, "ms", other_bare),
    ]
    if u1 in rounds.samples:
        found += [
            ratio("1 client: p50 against the upstream node", a1, u1, p50, "≤", 0.5, "ms", bare),
            ratio("1 client: CPU per picture against the upstream node", a1, u1, cpu, "≤", 0.5, "ms", bare),
            ratio(f"{many}: throughput against the upstream node", a16, u16, throughput, "≥", 2.5, "/s", two),
            ratio(f"{many}: p99 against the upstream node", a16, u16, p99, "≤", 0.45, "ms"),
        ]
    return found
