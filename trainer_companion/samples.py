"""A few of the pictures that are held out, with what the best model so far finds in them: for people.

JOB_FOLDER/samples.json is written with each new best model, always of the same pictures, so that one sees it learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import ImageUnreadable, InputTooLarge
from models.files import FILE_SYSTEM, refusal
from models.image_headers import DEFAULT_LIMITS, read_header
from models.images import encode_jpeg, prepare
from trainer_companion.dataset import Dataset, Picture, share

if TYPE_CHECKING:
    from trainer_companion.evaluation import Evaluation

FILE = "samples.json"
MOST = 6
MOST_FOUND = 50
"""Detections of one picture, the most certain first."""

MOST_BYTES = 1024 * 1024
LONGEST_SIDE = 640
"""Pixels, of the picture that a page shows."""

MOST_PICTURE_BYTES = 64 * 2**20

Box = tuple[float, float, float, float]


class Seen(BaseModel):
    """One thing: name of its category, confidence 0..1, `box` left, top, width, height in pixels of the picture; without a
    box it is the class of the picture as a whole.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    category: str
    confidence: float
    box: Box | None = None


class Sample(BaseModel):
    """One picture: `file` is its name below `images/`, `width` and `height` are pixels as displayed, `things` how many
    people have marked in it. Only what the model is sure of (its `conf_threshold`) is in `found`. `said`: the class that
    people gave it, where whole pictures are classified.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    width: int
    height: int
    things: int
    found: tuple[Seen, ...] = ()
    said: str | None = None


class Samples(BaseModel):
    """What the best model sees; `epoch` is its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: int
    pictures: tuple[Sample, ...] = ()


def chosen(pictures: Sequence[Picture]) -> list[int]:
    """Which of the pictures are shown: some that hold something, by a hash of their names. Pure."""

    def rank(index: int) -> tuple[bool, float]:
        picture = pictures[index]
        return len(picture.classes) == 0, share(picture.loop_id or picture.name)

    return sorted(range(len(pictures)), key=rank)[:MOST]


def of(dataset: Dataset, evaluation: Evaluation, epoch: int, width: int, height: int) -> Samples:
    """What an evaluation saw; `width` and `height` are those of the network's input, whose pixels its boxes are. Pure."""
    made = []
    for index, seen in evaluation.seen.items():
        picture = dataset.held_out[index]
        across, down = picture.width / width, picture.height / height
        found = [
            Seen(
                category=dataset.categories[kind].name,
                confidence=round(float(score), 3),
                box=None if seen.boxes is None else _in_picture(seen.boxes[row], across, down),
            )
            for row, (kind, score) in enumerate(zip(seen.classes, seen.scores, strict=True))
            if score >= evaluation.conf_threshold
        ]
        classified = dataset.learns == "pictures" and len(picture.classes) > 0
        made.append(
            Sample(
                file=picture.name,
                width=picture.width,
                height=picture.height,
                things=len(picture.classes),
                found=tuple(found[:MOST_FOUND]),
                said=dataset.categories[picture.classes[0]].name if classified else None,
            )
        )
    return Samples(epoch=epoch, pictures=tuple(made))


def _in_picture(corners: NDArray[np.float32], across: float, down: float) -> Box:
    """Left, top, width and height of x1, y1, x2, y2, stretched."""
    x1, y1, x2, y2 = (float(value) for value in corners)
    return (
        round(x1 * across, 1),
        round(y1 * down, 1),
        round((x2 - x1) * across, 1),
        round((y2 - y1) * down, 1),
    )


def write(folder: Path, dataset: Dataset, evaluation: Evaluation, epoch: int, width: int, height: int) -> None:
    """Put `of` into the job's folder. Blocks. Raises `StorageRefused`."""
    document = of(dataset, evaluation, epoch, width, height).model_dump_json().encode()
    try:
        FILE_SYSTEM.write_atomically(folder / FILE, document)
    except OSError as error:
        raise refusal(error, "write down what the model sees") from error


def read(folder: Path) -> Samples | None:
    """What was written; None where there is nothing that can be understood (an own recipe need not write it). Blocks."""
    try:
        with (folder / FILE).open("rb") as file:
            return Samples.model_validate_json(file.read(MOST_BYTES))
    except (OSError, ValidationError):
        return None


def small(images: Path, sample: Sample) -> bytes | None:
    """The picture as a JPEG of at most `LONGEST_SIDE`; None where there is none below `images` any more. Blocks."""
    try:
        path = (images / sample.file).resolve()
        if not path.is_relative_to(images.resolve()) or path.stat().st_size > MOST_PICTURE_BYTES:
            return None
        data = path.read_bytes()
        header = read_header(data, DEFAULT_LIMITS)
        scale = min(1.0, LONGEST_SIDE / max(header.width, header.height))
        width, height = max(1, round(header.width * scale)), max(1, round(header.height * scale))
        return encode_jpeg(prepare(data, width, height).pixels)
    except (OSError, ValueError, ImageUnreadable, InputTooLarge):
        return None
