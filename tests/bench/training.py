"""`python -m tests.bench.training`: how much of a training is not the network.

The trainer's own loop, with pictures that are turned, lit and cut, with agreements, averages and checkpoints, against a
bare loop of the same network, loss and optimizer on tensors that lie in memory already. Both take turns in one process.
Each is charged the processor's time, so that other programs on a busy machine do not count.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import torch
from torch import nn

from tests.bench import machine
from tests.bench.goals import Goal, table
from tests.bench.measures import median
from tests.support import composed_scenes
from tests.support.training_sessions import session
from trainer_companion import fitting
from trainer_companion.batches import Batch
from trainer_companion.edge_recipe import EdgeRecipe
from trainer_companion.fitting import Learning
from trainer_companion.variants import EDGE_VARIANTS

GOAL = 0.9
PICTURES = 160


def main() -> int:
    """Measure; 0 if the goal is met for every variant."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training", description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["edge-residual-128", "edge-residual-320"])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for key, value in machine.describe().items():
        print(f"{key}: {value}")
    goals = []
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        pictures = composed_scenes.write(Path(folder) / "set", train=PICTURES, test=8)
        for variant in arguments.variants:
            ours, bare = measure(pictures, Path(folder) / variant, variant, arguments.rounds)
            goals.append(
                Goal(
                    f"{variant}: pictures a second of one core, of a bare loop's",
                    median([a / b for a, b in zip(ours, bare, strict=True)]),
                    "≥",
                    GOAL,
                    detail=f"{median(ours):.0f} of {median(bare):.0f} a second",
                )
            )
    print(f"\n{table(goals)}")
    return 0 if all(goal.met for goal in goals) else 1


def measure(pictures: Path, folder: Path, variant: str, rounds: int) -> tuple[list[float], list[float]]:
    """Pictures per CPU second of the trainer's loop and of the bare one, round by round."""
    size = next(each for each in EDGE_VARIANTS if each.name == variant).resolution
    of = session(pictures, folder, variant=variant, resolution=size, max_batch_size=8, epochs=10_000)
    learning = EdgeRecipe().prepare(of)

    def keep_nothing(*_: object) -> None:
        raise AssertionError("nothing is evaluated here")

    loop = fitting._Fit(of, learning, keep_nothing)  # type: ignore[arg-type]
    batches = list(loop.batches.epoch(0, learning.batch_size))
    in_memory = [(batch.floats(), batch) for batch in batches]
    loop._epoch()  # warm
    bare_loop(learning, in_memory[:3])
    ours, bare = [], []
    for _ in range(rounds):
        started = time.process_time()
        loop._epoch()
        loop._save()
        ours.append(PICTURES / (time.process_time() - started))
        started = time.process_time()
        bare_loop(learning, in_memory)
        bare.append(PICTURES / (time.process_time() - started))
    return ours, bare


def bare_loop(learning: Learning, batches: list[tuple[torch.Tensor, Batch]]) -> None:
    """What anybody would write: forward, backward, step."""
    learning.learner.train()
    parameters = list(learning.network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-6)
    for pictures, batch in batches:
        loss = learning.learner(pictures, batch.boxes, batch.classes)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, fitting.LARGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    sys.exit(main())
