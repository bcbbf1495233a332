"""Pictures for calibration and comparison: found in a folder, a bounded and even sample, prepared as a model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models import images
from models.bundle_format import InputSpec
from models.errors import ImageUnreadable, InputTooLarge, InvalidInput

T = TypeVar("T")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

CALIBRATION_PICTURES = 128
"""More change the ranges of a network no more, and each costs its time."""

CALIBRATION_BYTES = 128 * 1024 * 1024
"""Of all of them as bytes; of large ones there are fewer."""

FEWEST = 16

NONE_TO_CALIBRATE = (
    "There is no picture to calibrate int8 weights with: the project needs some that show what the model will see, on the "
    "command line --images names a folder of them."
)


def find(folder: Path) -> list[Path]:
    """The pictures in a folder, or in its `images/` (a COCO folder), sorted. Blocks. Raises `InvalidInput` if none is there."""
    inside = folder / "images"
    place = inside if inside.is_dir() else folder
    try:
        found = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise InvalidInput(f"{place} cannot be read: {error.strerror}") from error
    if not found:
        raise InvalidInput(f"There are no pictures in {place}; put some there that show what the model will see.")
    return found


def sample(pictures: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly: neighbours in a folder often show the same. Pure."""
    if len(pictures) <= most:
        return list(pictures)
    return [pictures[index * len(pictures) // most] for index in range(most)]


def calibration(pictures: Sequence[Path], spec: InputSpec, most: int = CALIBRATION_PICTURES) -> NDArray[np.uint8]:
    """Pictures as a model sees them: uint8 RGB (pictures, height, width, 3). Blocks. What cannot be read is left out.

    Raises `InvalidInput` where none can be read.
    """
    prepared = []
    most = min(most, max(FEWEST, CALIBRATION_BYTES // (spec.width * spec.height * 3)))
    for path in sample(pictures, most):
        try:
            prepared.append(images.prepare(path.read_bytes(), spec.width, spec.height, spec.resize).pixels)
        except (ImageUnreadable, InputTooLarge, OSError):
            continue
    if pictures and not prepared:
        raise InvalidInput(f"None of the {len(pictures)} pictures can be read; calibration needs some.")
    return np.stack(prepared) if prepared else np.empty((0, spec.height, spec.width, 3), np.uint8)
