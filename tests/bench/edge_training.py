"""`python -m tests.bench.edge_training`: the edge family from scratch on the composed set, within five minutes.

Two processes on a CPU, several seeds; a seed changes pictures, first weights and order alike. The table says how long it
took, on the clock and on the processor: on a busy machine the same minutes hold fewer pictures.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine
from tests.bench.goals import Goal, table
from tests.bench.measures import median
from tests.support import composed_scenes
from trainer_companion import job
from trainer_companion.job import Job
from trainer_companion.launching import Training
from trainer_companion.progress import Event, Progress

GOAL = 0.92
MOST_MINUTES = 5.0
VARIANT = "edge-residual-128"


@dataclass(frozen=True)
class Run:
    """One training. Times in seconds; `cpu` is of all its processes."""

    seed: int
    map50: float
    map: float
    epochs: int
    wall: float
    cpu: float


def main() -> int:
    """Train with each seed; 0 if the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.edge_training", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many trainings")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=4.5, help="for each, at most")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--variant", default=VARIANT)
    parser.add_argument("--set", type=Path, help="a folder in COCO's form, in place of the composed set")
    arguments = parser.parse_args()
    for key, value in machine.describe().items():
        print(f"{key}: {value}")
    runs = []
    with tempfile.TemporaryDirectory(prefix="edge-training-") as folder:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            place = Path(folder) / str(seed)
            pictures = arguments.set or composed_scenes.write(place / "set", seed=seed)
            run = train(pictures, place / "job", seed, arguments.variant, arguments.minutes, arguments.processes)
            load = os.getloadavg()[0]
            print(
                f"seed {seed}: mAP50 {run.map50:.3f}, mAP {run.map:.3f}, {run.epochs} epochs, {run.wall:.0f} s, "
                f"{run.cpu:.0f} CPU s, load {load:.1f}",
                flush=True,
            )
            runs.append(run)
    name = f"median mAP50 of {len(runs)} seed(s), {arguments.variant}, composed set"
    goals = [
        Goal(name, median([run.map50 for run in runs]), "≥", GOAL, ""),
        Goal("longest training", max(run.wall for run in runs) / 60, "≤", MOST_MINUTES, "min"),
    ]
    print(f"\n{table(goals)}")
    return 0 if all(goal.met for goal in goals) else 1


def train(pictures: Path, folder: Path, seed: int, variant: str, minutes: float, processes: int) -> Run:
    """One training, from the start of its processes to their end."""
    job.write(folder, Job(dataset=pictures, variant=variant, seed=seed, minutes=minutes, device="cpu"))
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)

    def heard(event: Event) -> None:
        if isinstance(event, Progress) and event.map50 is not None:
            print(f"  epoch {event.epoch}: mAP50 {event.map50:.3f} at {time.monotonic() - started:.0f} s", flush=True)

    done = Training(folder, processes).run(heard)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seed, done.map50, done.map, done.epochs, time.monotonic() - started, cpu)


if __name__ == "__main__":
    sys.exit(main())
