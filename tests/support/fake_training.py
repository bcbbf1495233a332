"""A training that learns nothing: the program that a trainer runs, in a second and without PyTorch.

    python fake_training.py --weights FILE OPTIONS JOB_FOLDER

It speaks the lines of a real one, keeps a checkpoint after each epoch, goes on from it, and leaves a bundle that always
finds the same box. `--epochs N --pause SECONDS`; `--crash-after N` dies by SIGKILL after that epoch, once; `--fail WORDS`
says that it failed, `--again` that another try may help; `--hang-after N` says nothing any more; `--memory` ends as
PyTorch does when the graphics card is full; `--stubborn` does not end when it is told to; `--empty` never finds a model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from models.files import FILE_SYSTEM
from trainer_companion import job as jobs
from trainer_companion.progress import Best, Confusion, Done, Failed, Progress, Started, Warned, say

SIZE = 64
WEIGHTS = "model.onnx"
FOUND = (32.0, 32.0, 20.0, 10.0)
"""The box that its model finds in every picture: centre and size, pixels of its input."""


def write_weights(path: Path) -> Path:
    """A model of one category that runs without PyTorch."""
    from tests.support.tiny_onnx import write_onnx, yolo_v8

    return write_onnx(path, (1, 3, SIZE, SIZE), {"predictions": yolo_v8(SIZE, 1, (*FOUND, 0, 0.9))})


def write_bundle(folder: Path, weights: Path, categories: list[dict[str, Any]], epoch: int) -> None:
    """A bundle with these weights."""
    new = folder.with_name(".best.new")
    FILE_SYSTEM.remove_tree(new)
    new.mkdir(parents=True)
    shutil.copyfile(weights, new / WEIGHTS)
    document = {
        "categories": categories,
        "resolution": SIZE,
        "conf_threshold": 0.5,
        "epoch": epoch,
        "inference": {
            "version": 1,
            "head": "yolo",
            "family": "fake",
            "weights": [
                {
                    "runtime": "onnx",
                    "file": WEIGHTS,
                    "input": {
                        "width": SIZE,
                        "height": SIZE,
                        "layout": "NCHW",
                        "dtype": "float32",
                        "scale": 1 / 255,
                    },
                    "outputs": {"predictions": 0},
                }
            ],
        },
    }
    (new / "model.json").write_text(json.dumps(document))
    FILE_SYSTEM.remove_tree(folder)
    new.rename(folder)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--crash-after", type=int, default=0)
    parser.add_argument("--hang-after", type=int, default=0)
    parser.add_argument("--fail", default="")
    for switch in ("again", "memory", "stubborn", "empty"):
        parser.add_argument(f"--{switch}", action="store_true")
    options = parser.parse_args()
    return train(options, options.folder)


def train(options: argparse.Namespace, folder: Path) -> int:
    job = jobs.read(folder)
    document = json.loads((job.dataset / "annotations.json").read_bytes())
    splits = [image["split"] for image in document["images"]]
    keys = [category["loop_id"] for category in document["categories"]]
    categories = [
        {"id": category["loop_id"], "name": category["name"], "type": category["type"]}
        for category in document["categories"]
    ]
    stopped: list[int] = []
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    checkpoint = folder / jobs.CHECKPOINT
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    with (folder / "starts").open("a") as file:
        file.write(f"{first}\n")
    print("some library says hello")
    if options.memory:
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", file=sys.stderr)
        return 1
    say(
        Started(
            variant=job.variant,
            architecture="fake",
            device="cpu",
            train_images=splits.count("train"),
            val_images=splits.count("val"),
            test_images=splits.count("test"),
            batch_size=4,
            epoch=first,
            hyperparameters={"epochs": options.epochs},
        )
    )
    bundle = folder / jobs.BEST
    for epoch in range(first + 1, options.epochs + 1):
        end = time.monotonic() + options.pause
        while time.monotonic() < end and not stopped:
            time.sleep(0.01)
        if stopped:
            break
        if not options.empty:
            write_bundle(bundle, options.weights, categories, epoch)
            say(
                Best(
                    epoch=epoch,
                    map50=epoch / 10,
                    map=epoch / 20,
                    conf_threshold=0.5,
                    confusion_matrix={key: Confusion(tp=epoch, fp=1, fn=2) for key in keys},
                    bundle=str(bundle),
                )
            )
        FILE_SYSTEM.write_atomically(checkpoint, str(epoch).encode())
        say(Progress(share=epoch / options.epochs, epoch=epoch, step=epoch, loss=1 / epoch, map50=epoch / 10))
        if epoch == options.crash_after and first < epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        if epoch == options.hang_after and first < epoch:
            time.sleep(600)
    if options.fail:
        say(Failed(message=options.fail, again=options.again))
        return 1
    say(Warned(message="this training is not meant seriously"))
    last = int(checkpoint.read_text()) if checkpoint.exists() else 0
    if last == 0 or options.empty:
        say(Failed(message="there was no time to find a model"))
        return 1
    say(
        Done(
            reason="stopped" if stopped else "epochs",
            epochs=last,
            best_epoch=last,
            map50=last / 10,
            map=last / 20,
            seconds=1.0,
            bundle=str(bundle),
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
