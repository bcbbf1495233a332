"""The first two stages: the pictures of the project, and the model to begin with."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid

from models.errors import BundleError, InputTooLarge
from models.files import refusal
from models.uninterrupted import in_thread
from trainer_companion import dataset, download
from trainer_companion.loop_dataset import describe, splits
from trainer_companion.stages import HopelessError
from trainer_companion.workplace import Workplace

log = logging.getLogger(__name__)

STATE = "complete"
"""Of the pictures that a training learns from: a person has looked at them."""


async def download_data(work: Workplace) -> None:
    """Have all pictures on the disk, and the document that says what is on them.

    Raises `HopelessError` where nothing can be learnt, `LoopError` and `StorageRefused`.
    """
    run = work.run
    ids = (await work.project.data(STATE)).image_ids
    if not ids:
        raise HopelessError(
            f"the project {run.organization}/{run.project} has no image in the state {STATE!r}; annotate some first"
        )
    # As upstream counts: the first half is what is known of the images, the second the images themselves.
    known = await download.described(work.project, ids, lambda share: work.tell(share / 2))
    sets = splits(known, run.details.hyperparameters)
    images = download.Images(work.folders.images(run), work.files)
    fetched = await images.fetch(work.project, [image.id for image in known], lambda share: work.tell(0.5 + share / 2))
    made = await asyncio.to_thread(describe, known, fetched.stored, run.details.categories, sets)
    try:
        document = await asyncio.to_thread(lambda: json.dumps(made.document).encode())
        path = work.folders.project(run) / dataset.ANNOTATIONS
        await in_thread(work.files.write_atomically, path, document)
    except OSError as error:
        raise refusal(error, "write down what is on the pictures") from error
    if made.unknown:
        log.warning("%d annotations of categories that are not trained are left out", made.unknown)
    run.train_images = made.counts["train"] + made.counts["val"]
    run.test_images = made.counts["test"]
    run.skipped_image_count = len(ids) - len(fetched.stored)
    run.skipped_annotations = made.unknown
    if not fetched.stored:
        raise HopelessError(f"none of the {len(ids)} pictures of the project can be read; see the log")
    if run.train_images == 0:
        raise HopelessError("all pictures of the project are kept for testing; annotate more of them")


def is_uuid(text: str | None) -> bool:
    """Whether it can be the id of a model."""
    try:
        uuid.UUID(text or "")
    except ValueError:
        return False
    return True


async def download_base_model(work: Workplace) -> None:
    """Have the model to begin with; what is no uuid means: from scratch, as upstream's trainers take it."""
    base = work.run.details.base_model_uuid
    if not is_uuid(base):
        if base is not None:
            log.warning("%r is no id of a model: training begins from scratch", base[:60])
        return
    assert base is not None
    try:
        await work.fetch_base(base, work.folders.base(work.run))
    except (BundleError, InputTooLarge) as error:
        raise HopelessError(f"the base model {base} cannot be used: {error}") from error
