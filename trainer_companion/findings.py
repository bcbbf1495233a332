"""The last two stages: what the new model finds on all pictures of the project, and telling the Loop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from pydantic import ValidationError

from models.errors import BundleError, InputTooLarge
from models.files import refusal
from models.uninterrupted import in_thread
from trainer_companion import job as jobs
from trainer_companion import look
from trainer_companion.children import Child, ChildFailed
from trainer_companion.download import Images
from trainer_companion.stages import HopelessError
from trainer_companion.workplace import Workplace

log = logging.getLogger(__name__)

STATES = ("inbox", "annotate", "review", "complete")
"""Of the pictures that are looked at, in the order in which upstream's trainers ask for them."""

SILENCE_S = 600.0


async def detect(work: Workplace, command: Sequence[str] | None = None) -> None:
    """Look at all pictures with the model as the Loop hands it out, and keep what is found on the disk.

    Raises `LoopError`, `StorageRefused`, `ChildFailed`, and `HopelessError` where the model that comes back is none.
    """
    run, settings = work.run, work.settings
    folder = work.folders.detections(run)
    assert run.model_id is not None
    try:
        bundle = await work.fetch_model(run.model_id, work.folders.detector(run))
    except (BundleError, InputTooLarge) as error:
        raise HopelessError(f"the model that was uploaded comes back damaged: {error}") from error
    if not run.looked_at:
        sights = await _pictures(work)
        task = look.Task(
            bundle=bundle.folder,
            images=work.folders.images(run),
            batch_size=settings.inference_batch_size,
            vram_limit_gb=settings.vram_limit_gb or None,
            sights=sights,
        )
        await work.remove(folder)
        await work.make_folder(folder)
        await _write(work, folder, task)
        run.looked_at = True
        await work.save()
    else:  # what is set may have been turned down since, because memory was too small
        task = await _task(folder)
        in_force = {
            "batch_size": settings.inference_batch_size,
            "vram_limit_gb": settings.vram_limit_gb or None,
        }
        if in_force != task.model_dump(include=set(in_force)):
            task = task.model_copy(update=in_force)
            await _write(work, folder, task)
    work.tell(0.5)
    total = len(task.sights)
    if total == 0:
        return
    child = Child(folder, work.files)
    try:
        await child.start(command or [sys.executable, "-m", "trainer_companion.look", str(folder)], jobs.environment())
        async with aclosing(child.lines(SILENCE_S)) as lines:
            async for line in lines:
                try:
                    looked = look.Looked.model_validate_json(line)
                except ValidationError:
                    await child.note([line])
                    continue
                work.tell(0.5 + looked.done / total / 2)
    finally:
        await child.end()
    if verdict := child.verdict():
        raise ChildFailed(verdict)


async def _pictures(work: Workplace) -> list[look.Sight]:
    """Every picture of the project, on the disk; those that the project has no more are removed."""
    images = Images(work.folders.images(work.run), work.files)
    ids: list[str] = []
    for state in STATES:
        ids += (await work.project.data(state)).image_ids
    ids = list(dict.fromkeys(ids))
    fetched = await images.fetch(work.project, ids, lambda share: work.tell(0.1 + 0.4 * share))
    await in_thread(images.keep_only, ids)
    return [look.Sight(id=id, file=stored.file_name) for id, stored in fetched.stored.items()]


async def _write(work: Workplace, folder: Path, task: look.Task) -> None:
    try:
        await in_thread(work.files.write_atomically, folder / look.TASK, task.model_dump_json().encode())
    except OSError as error:
        raise refusal(error, "write down what to look at") from error


async def _task(folder: Path) -> look.Task:
    try:
        return look.Task.model_validate_json(await asyncio.to_thread((folder / look.TASK).read_bytes))
    except (OSError, ValidationError) as error:
        raise HopelessError(f"what to look at is lost: {error}") from error


async def upload(work: Workplace) -> None:
    """Send what was found, a portion at a time; what was sent is removed, so that nothing is begun again from the start.

    Raises `LoopError` and `StorageRefused`.
    """
    folder = work.folders.detections(work.run)
    portions = (await _task(folder)).portions
    for number in range(portions):
        try:
            found = await asyncio.to_thread(look.read_portion, folder, number)
        except OSError as error:
            raise refusal(error, "read what was found") from error
        except ValueError as error:
            raise HopelessError(f"what was found is damaged: {error}") from error
        if found is None:  # sent already
            continue
        if found:
            await work.project.post_detections(found)
        await work.remove(look.portion_file(folder, number))
        work.tell((number + 1) / portions)
