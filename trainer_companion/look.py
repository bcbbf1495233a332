"""`python -m trainer_companion.look FOLDER`: what a model finds in many pictures.

    FOLDER/look.json      what to look at (`Task`)
    FOLDER/<number>.json  what was found in one portion of the pictures, written when the whole portion is done

Started again it goes on with the portions that are not there. It says a JSON line after each batch. A program, so that a
graphics card is free again when it has ended, and a crash of PyTorch is none of the node.

Where memory is too small for a batch, smaller ones are tried, and kept to until this process ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from models.bundle import open_bundle
from models.errors import DetectorApplianceError, InvalidInput, ModelFailed
from models.files import FILE_SYSTEM
from models.images import Prepared
from models.load import Detector, load
from models.wire.detections import Detections, ImageDetections
from trainer_companion.lack_of_memory import lacks_memory

log = logging.getLogger(__name__)

TASK = "look.json"
PORTION = 100
"""Pictures whose detections travel together."""

_FOUND = TypeAdapter(list[ImageDetections])


class Sight(BaseModel):
    """One picture: its id in the Loop, and its file."""

    id: str
    file: str


class Task(BaseModel):
    """`bundle`: folder of the model. `images`: folder of the pictures. `batch_size`: pictures that are run together, at most.
    `vram_limit_gb`: GiB of the graphics card that PyTorch may use, None: all; other runtimes take what they need.
    """

    bundle: Path
    images: Path
    batch_size: int
    vram_limit_gb: float | None = None
    sights: list[Sight]

    @property
    def portions(self) -> int:
        """How many files will be written."""
        return -(-len(self.sights) // PORTION)


class Looked(BaseModel):
    """A line: how many pictures are done, and how many of them could not be read."""

    done: int
    unreadable: int = 0


def portion_file(folder: Path, number: int) -> Path:
    """Where the findings of a portion are written."""
    return folder / f"{number}.json"


def look(folder: Path) -> Generator[Looked, None, None]:
    """Do the task in `folder`. Blocks. Raises `BundleError`, `ModelFailed`, OSError."""
    task = Task.model_validate_json((folder / TASK).read_bytes())
    bundle = open_bundle(task.bundle)
    done = unreadable = 0
    detector = load(bundle, cache=folder / "cache", floor=bundle.model.score_threshold, lanes=1)
    size = task.batch_size
    try:
        _limit(detector, task.vram_limit_gb)
        with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as threads:
            for number in range(task.portions):
                portion = task.sights[number * PORTION : (number + 1) * PORTION]
                if portion_file(folder, number).exists():
                    done += len(portion)
                    continue
                found: list[ImageDetections] = []
                start = 0
                while start < len(portion):
                    batch = portion[start : start + size]
                    seen = [
                        (sight, prepared)
                        for sight, prepared in zip(
                            batch,
                            threads.map(lambda sight: _prepared(detector, task.images / sight.file), batch),
                            strict=True,
                        )
                        if prepared is not None
                    ]
                    detections = _together(detector, [prepared for _, prepared in seen])
                    if detections is None:
                        size = max(1, len(seen) // 2)
                        log.warning("Out of memory with %d pictures together; it goes on with %d.", len(seen), size)
                        continue
                    found += [
                        ImageDetections(image_id=sight.id, **dict(each))
                        for (sight, _), each in zip(seen, detections, strict=True)
                    ]
                    start += len(batch)
                    done += len(batch)
                    unreadable += len(batch) - len(seen)
                    yield Looked(done=done, unreadable=unreadable)
                FILE_SYSTEM.write_atomically(portion_file(folder, number), _FOUND.dump_json(found))
    finally:
        detector.close()


def _together(detector: Detector, prepared: Sequence[Prepared]) -> list[Detections] | None:
    """What is in the pictures; None where memory is too small for so many. Raises `ModelFailed`.

    Returning, rather than trying again where the error is at hand, frees what its traceback holds.
    """
    try:
        return detector.detect_together(prepared)
    except ModelFailed as error:
        if len(prepared) > 1 and lacks_memory(error):
            return None
        raise


def _limit(detector: Detector, limit_gb: float | None) -> None:
    """Obey the limit (GiB) where the model runs on a graphics card with PyTorch, which is not loaded otherwise."""
    if limit_gb is None or (detector.choice.runtime, detector.choice.accelerator) != ("torch", "cuda"):
        return
    import torch

    from trainer_companion.memory import Card

    Card(torch.device("cuda", torch.cuda.current_device())).limit(limit_gb)


def read_portion(folder: Path, number: int) -> list[ImageDetections] | None:
    """What was found in a portion; None where there is no such file. Blocks. Raises OSError, ValueError."""
    try:
        return _FOUND.validate_json(portion_file(folder, number).read_bytes())
    except FileNotFoundError:
        return None


def _prepared(detector: Detector, path: Path) -> Prepared | None:
    try:
        return detector.prepare(path.read_bytes())
    except (InvalidInput, FileNotFoundError):
        return None


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 it worked, 1 it did not."""
    try:
        for line in look(Path(arguments[0])):
            sys.stdout.write(json.dumps(line.model_dump()) + "\n")
            sys.stdout.flush()
    except DetectorApplianceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
