"""`python -m tests.bench.conversion`: what a network of the edge family sees before and after its conversion.

A model that was trained on the composed set (or any of `--bundle`) is converted to every format by the converter's own
way, calibrated on pictures that it was trained on. Then all held-out pictures are looked at by its source and by each
file that came out: mAP50, how far boxes and confidences are apart, latency, size, and where the time of the conversion went.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from converter_companion import convert, pictures, truth, verify
from converter_companion.report import ParityExceeded, ParityReport, table
from models.bundle import Bundle, open_bundle, unpack
from models.errors import DetectorApplianceError
from networks import bundles
from networks.base import family
from tests.bench import machine
from tests.bench.goals import Goal
from tests.bench.goals import table as goals_table
from tests.support import composed_scenes
from trainer_companion import job
from trainer_companion.job import Job
from trainer_companion.launching import Training
from trainer_companion.progress import Event, Progress
from trainer_companion.variants import EDGE_VARIANTS

MOST_LOST_BY_INTEGERS = 0.01
MOST_LOST_BY_ONNX = 1e-4
"""mAP50 of a float32 ONNX may be so far from its source's, on either side."""

LONGEST_S = 120.0
VARIANT = "edge-residual-128"


@dataclass
class Stages:
    """Where the time goes: seconds by what is being done, and what is being done since when."""

    seconds: dict[str, float] = field(default_factory=dict)
    doing: str = "starting"
    since: float = field(default_factory=time.monotonic)

    def __call__(self, _share: float, doing: str) -> None:
        """A `Progress`."""
        now = time.monotonic()
        self.seconds[self.doing] = self.seconds.get(self.doing, 0.0) + now - self.since
        self.doing, self.since = doing, now

    def words(self) -> str:
        """The longest first."""
        self(1.0, self.doing)
        longest = sorted(self.seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{doing} {seconds:.0f} s" for doing, seconds in longest if seconds >= 0.5)


def main() -> int:
    """Train where nothing is given, convert, compare; 0 if the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.conversion", description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a zip or folder in appliance_pytorch, in place of a training")
    parser.add_argument("--seconds", type=float, default=100.0, help="of training")
    parser.add_argument("--variant", default=VARIANT, help="what is trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trained-at", type=int, metavar="PIXELS", help="in place of the variant's own size")
    parser.add_argument("--processes", type=int, default=2, help="that train")
    parser.add_argument("--set", type=Path, help="a folder in COCO's form with splits, in place of the composed set")
    parser.add_argument("--to", default="litert,onnx,onnx_int8")
    parser.add_argument("--keep", type=Path, help="a new folder for the trained model and what was made of it")
    arguments = parser.parse_args()
    for key, value in machine.describe().items():
        print(f"{key}: {value}")
    with tempfile.TemporaryDirectory(prefix="conversion-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        shown = arguments.set or composed_scenes.write(folder / "set", seed=arguments.seed)
        if arguments.bundle is None:
            source = train(shown, folder / "job", arguments)
            if arguments.trained_at is not None:
                source = enlarged(source, folder / "enlarged", arguments.variant)
                shown = mosaics(shown, folder / "mosaics", source.model.resolution or 0, arguments.trained_at)
        elif arguments.bundle.is_dir():
            source = open_bundle(arguments.bundle)
        else:
            unpack(arguments.bundle, folder / "source")
            source = open_bundle(folder / "source")
        learnt, held_out = splits(shown)
        goals = []
        for target in arguments.to.split(","):
            goals += measure(source, target, folder, learnt, held_out, truth.read(shown))
    print(f"\n{goals_table(goals)}")
    return 0 if all(goal.met for goal in goals) else 1


def splits(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures to calibrate with, and those to compare on."""
    document = json.loads((folder / truth.DOCUMENT).read_bytes())
    files: dict[str, list[Path]] = {"train": [], "test": []}
    for image in document["images"]:
        files.setdefault(image["split"], []).append(folder / "images" / image["file_name"])
    return files["train"], files["test"]


def train(shown: Path, folder: Path, arguments: argparse.Namespace) -> Bundle:
    """The best model of so many seconds."""
    minutes = arguments.seconds / 60
    chosen = {} if arguments.trained_at is None else {"resolution": arguments.trained_at}
    job.write(
        folder,
        Job(
            dataset=shown,
            variant=arguments.variant,
            seed=arguments.seed,
            minutes=minutes,
            device="cpu",
            hyperparameters=chosen,
        ),
    )
    started = time.monotonic()

    def heard(event: Event) -> None:
        if isinstance(event, Progress) and event.map50 is not None:
            print(f"  epoch {event.epoch}: mAP50 {event.map50:.3f} at {time.monotonic() - started:.0f} s", flush=True)

    done = Training(folder, arguments.processes).run(heard)
    print(f"trained {done.epochs} epochs in {time.monotonic() - started:.0f} s: mAP50 {done.map50:.3f}", flush=True)
    return open_bundle(Path(done.bundle))


def enlarged(source: Bundle, folder: Path, variant: str) -> Bundle:
    """The same weights in a network whose input has the size of the variant."""
    size = next(each for each in EDGE_VARIANTS if each.name == variant).resolution
    small = bundles.read(source)
    large = family("edge").build({**small.architecture, "input_width": size, "input_height": size}, small.class_count)
    large.load_state_dict(small.state_dict())
    more = {"format": bundles.FORMAT}
    threshold = source.model.conf_threshold
    bundles.write(folder, large, "edge", source.model.categories, conf_threshold=threshold, more=more)
    return open_bundle(folder)


def mosaics(shown: Path, folder: Path, side: int, part: int) -> Path:
    """A set whose pictures have `side` pixels, put together from those of `shown`, each of which becomes `part` wide."""
    (folder / "images").mkdir(parents=True)
    document = json.loads((shown / truth.DOCUMENT).read_bytes())
    parts = side // part
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for split in ("train", "test"):
        of_split = [image for image in document["images"] if image["split"] == split]
        for first in range(0, len(of_split) - parts * parts + 1, parts * parts):
            canvas = np.full((side, side, 3), 114, np.uint8)
            number = len(images) + 1
            for place, image in enumerate(of_split[first : first + parts * parts]):
                y, x = (part * each for each in divmod(place, parts))
                read = cv2.imread(str(shown / "images" / image["file_name"]))
                assert read is not None
                scale = part / read.shape[0]
                canvas[y : y + part, x : x + part] = cv2.resize(read, (part, part), interpolation=cv2.INTER_AREA)
                for each in document["annotations"]:
                    if each["image_id"] == image["id"]:
                        left, top, width, height = (scale * value for value in each["bbox"])
                        box = [left + x, top + y, width, height]
                        annotations.append({**each, "id": len(annotations) + 1, "image_id": number, "bbox": box})
            name = f"{split}_{number:03}.jpg"
            cv2.imwrite(str(folder / "images" / name), canvas, [cv2.IMWRITE_JPEG_QUALITY, 95])
            images.append({"id": number, "file_name": name, "width": side, "height": side, "split": split})
    made = {**document, "images": images, "annotations": annotations}
    (folder / truth.DOCUMENT).write_text(json.dumps(made))
    return folder


def measure(
    source: Bundle, target: str, folder: Path, learnt: Sequence[Path], held_out: Sequence[Path], drawn: truth.Truth
) -> list[Goal]:
    """Convert to one format and compare; what should be reached."""
    python = os.environ.get("LITERT_TOOLS_PYTHON")
    means = convert.Means(folder, Path(python) if python else None)
    made_of = open_bundle(folder / "onnx") if target == "onnx_int8" else source
    stages, started, before = Stages(), time.monotonic(), cpu_seconds()
    try:
        convert.convert(
            made_of,
            target,
            folder / target,
            pictures.sample(learnt, pictures.CALIBRATION_PICTURES),
            stages,
            means=means,
            source_format="onnx" if target == "onnx_int8" else "appliance_pytorch",
            annotations=drawn,
        )
    except ParityExceeded as error:
        print(f"\n{target}: refused: {error}\n{table(error.report)}", flush=True)
        return [Goal(f"{target}: passes the gate", 0, "≥", 1, "")]
    except DetectorApplianceError as error:
        print(f"\n{target}: {error}", flush=True)
        return [Goal(f"{target}: is converted", 0, "≥", 1, "")]
    took, cpu = time.monotonic() - started, cpu_seconds() - before
    load = os.getloadavg()[0]
    print(f"\n{target}: {took:.0f} s, {cpu:.0f} CPU s, load {load:.1f}: {stages.words()}", flush=True)
    result = open_bundle(folder / target)
    report = verify.compare(source, result, held_out, cache=folder, truth=drawn, most=len(held_out))
    print(table(report), flush=True)
    return [
        *lost(target, report),
        Goal(
            f"{target}: conversion with its gate, CPU time",
            cpu,
            "≤",
            LONGEST_S,
            "s",
            f"{took:.0f} s at load {load:.1f}",
        ),
    ]


def cpu_seconds() -> float:
    """Of this process and its children that have ended: on a busy machine, what the clock would say on a quiet one."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def lost(target: str, report: ParityReport) -> list[Goal]:
    """How much each file sees less than its source."""
    goals = []
    for each in report.results:
        if each.result is None or each.result.map50 is None or report.source.map50 is None:
            continue
        less = report.source.map50 - each.result.map50
        exact = target == "onnx" and each.file == "model.onnx"
        measured, limit = (abs(less), MOST_LOST_BY_ONNX) if exact else (less, MOST_LOST_BY_INTEGERS)
        detail = f"{each.result.map50:.4f} for {report.source.map50:.4f}"
        goals.append(Goal(f"{target}, {each.file}: mAP50 lost", measured, "≤", limit, "", detail))
    return goals


if __name__ == "__main__":
    sys.exit(main())
