"""The new model goes to the Loop, in every format that a trainer makes, each once."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from models.bundle import MODEL_JSON, bundle_files
from models.errors import AlreadyInLoop, LoginFailed, LoopRefused, NotInLoop
from trainer_companion import job as jobs
from trainer_companion.children import Child, ChildFailed
from trainer_companion.stages import HopelessError
from trainer_companion.workplace import PYTORCH, Workplace

log = logging.getLogger(__name__)

ONNX = "onnx"
EXPORT_WITHIN_S = 900.0
MOST_EXPORTS = 3
"""After so many failures the model goes without ONNX: what it is trained on from is worth more than one of its formats."""

Export = Callable[[Workplace, Path, Path], Awaitable[None]]


async def upload_model(work: Workplace, export: Export | None = None) -> None:
    """Give the Loop the best model in each format that it does not have yet. A format that it has counts as given.

    Raises `HopelessError` where the Loop does not want it, `LoopError` where it may want it later.
    """
    run = work.run
    if run.best is None:
        raise HopelessError("the training has found no model; its log tells more")
    bundle = Path(run.best.bundle)
    if not (bundle / MODEL_JSON).is_file():
        raise HopelessError(f"the best model is not in {bundle} any more")
    await _give(work, PYTORCH, bundle)
    if ONNX not in run.uploaded:
        exported = await _exported(work, bundle, export or export_onnx)
        if exported is not None:
            await _give(work, ONNX, exported)
    if run.model_id is None:
        raise HopelessError("the model is uploaded, but the Loop never answered with its id")


async def _give(work: Workplace, model_format: str, folder: Path) -> None:
    run = work.run
    if model_format in run.uploaded:
        return
    files = await asyncio.to_thread(bundle_files, folder)
    try:
        model_id: str | None = await work.project.upload_model(run.details.training_number, model_format, files)
    except AlreadyInLoop as error:
        log.info("%s", error)
        model_id = error.id
    except LoginFailed:
        raise  # somebody may mend that
    except (LoopRefused, NotInLoop) as error:
        raise HopelessError(str(error)) from error
    run.uploaded[model_format] = model_id
    await work.save()
    log.info("%s: model %s is in the Loop as %s", run.name, model_id or "(without id)", model_format)


async def _exported(work: Workplace, bundle: Path, export: Export) -> Path | None:
    """The folder of the model as ONNX; None where it cannot be made."""
    out = work.folders.training(work.run) / ONNX
    if (out / MODEL_JSON).exists():
        return out
    failures = 0
    while True:
        try:
            await work.remove(out)
            await export(work, bundle, out)
            return out
        except ChildFailed as error:
            failures += 1
            log.error("%s cannot be made an ONNX file (try %d): %s", work.run.name, failures, error)
            if failures >= MOST_EXPORTS:
                work.run.errors["export_onnx"] = f"the model is uploaded without the format {ONNX}: {error}"
                await work.save()
                return None


async def export_onnx(work: Workplace, bundle: Path, out: Path) -> None:
    """In a process of its own. Raises `ChildFailed`."""
    folder = await work.make_folder(work.folders.training(work.run) / "export")
    command: Sequence[str] = [sys.executable, "-m", "trainer_companion.export", str(bundle), str(out)]
    child = Child(folder, work.files)
    try:
        await child.start(command, jobs.environment())
        async with aclosing(child.lines(EXPORT_WITHIN_S)) as lines:
            async for line in lines:
                await child.note([line])
    finally:
        await child.end()
    if verdict := child.verdict():
        raise ChildFailed(verdict)
