"""Pictures of a project for calibration and comparison, with what people drew in them: a bounded, even sample."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter_companion.pictures import sample
from converter_companion.truth import WHOLE, Boxes
from models.errors import ImageUnreadable, InputTooLarge, LoopRefused, NotInLoop
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.image_headers import ImageFormat, check_picture
from models.loop.client import LoopProject
from models.uninterrupted import in_thread
from models.wire.model_information import Category
from models.wire.project_data import ImageData

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Downloads side by side."""

POINT_SIZE = 20
"""Side of the box that stands for a point, pixels, where the category does not say."""

COMPLETE = "complete"
"""State of the images that people have annotated and looked over."""


@dataclass(frozen=True)
class ProjectPictures:
    """Files, what is in them by file name, and how many pictures the project has."""

    files: Sequence[Path]
    truth: dict[str, Boxes]
    of: int


async def fetch(project: LoopProject, folder: Path, most: int, files: FileSystem = FILE_SYSTEM) -> ProjectPictures:
    """Download at most so many into the existing `folder`, finished ones first. What cannot be had or read is left out.

    Raises `LoopError` where the project's images cannot be listed, or where the Loop goes away or has no time meanwhile, and
    `StorageRefused`.
    """
    finished = (await project.data(COMPLETE)).image_ids
    everything = await project.data()
    chosen = sample(finished, most)
    if len(chosen) < most:
        known = set(finished)
        chosen += sample([id for id in everything.image_ids if id not in known], most - len(chosen))
    described = {image.id: image for image in await project.images(sample(finished, most))} if finished else {}
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, image_id: str) -> tuple[str, Path] | None:
        async with turns:
            data = await project.download_image(image_id)
        return await in_thread(_store, data, folder, number, image_id, files)

    # All come to their end before one of them may fail: what is left behind would go on in the background.
    outcomes = await asyncio.gather(*(one(*item) for item in enumerate(chosen)), return_exceptions=True)
    found: list[tuple[str, Path]] = []
    for image_id, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, NotInLoop | LoopRefused):
            log.warning("image %s is left out: %s", image_id, outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        elif outcome is not None:
            found.append(outcome)
    truth = {path.name: drawn(described[id], everything.categories) for id, path in found if id in described}
    return ProjectPictures([path for _, path in found], truth, len(everything.image_ids))


_SUFFIXES: dict[ImageFormat, str] = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


def _store(data: bytes, folder: Path, number: int, image_id: str, files: FileSystem) -> tuple[str, Path] | None:
    """None for what is no picture. Raises `StorageRefused`."""
    try:
        header = check_picture(data)
    except (ImageUnreadable, InputTooLarge) as error:
        log.warning("image %s is left out: %s", image_id, error)
        return None
    path = folder / f"picture_{number:05}{_SUFFIXES[header.format]}"  # ids come from the Loop and may be anything
    try:
        files.write_file(path, [data])
    except OSError as error:
        raise refusal(error, "store pictures to calibrate with") from error
    return image_id, path


def drawn(image: ImageData, categories: Sequence[Category]) -> Boxes:
    """What people drew in an image, or said of it as a whole; a point is a box of its category's size. Pure."""
    sizes = {category.name: category.point_size or POINT_SIZE for category in categories}
    corners: list[list[float]] = []
    names: list[str] = []
    for box in image.box_annotations:
        corners.append([box.x, box.y, box.x + box.width, box.y + box.height])
        names.append(box.category_name)
    for point in image.point_annotations:
        half = sizes.get(point.category_name, POINT_SIZE) / 2
        corners.append([point.x - half, point.y - half, point.x + half, point.y + half])
        names.append(point.category_name)
    if (whole := image.classification_annotation) is not None:
        corners.append(WHOLE)
        names.append(whole.category_name)
    return Boxes(np.array(corners, np.float32).reshape(-1, 4), names, np.ones(len(names), np.float32))
