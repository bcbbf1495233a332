"""Stages that are left off while one of their threads writes: they end when it has, for the folder may be cleared then."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import NotInLoop
from models.wire.project_data import ProjectData
from tests.support.held_threads import Held, HeldFiles
from tests.support.small_bundles import make_bundle
from trainer_companion import dataset, findings, look, preparing
from trainer_companion import job as jobs
from trainer_companion.run_state import Folders, new_run
from trainer_companion.running import Running, Watched
from trainer_companion.settings import TrainerSettings
from trainer_companion.workplace import PYTORCH, Workplace

DETAILS = {"categories": [], "hyperparameters": {}, "training_number": 1, "model_variant": "small"}

Stage = Callable[[Workplace], Awaitable[object]]


class Project:
    """One whose only picture was deleted, with a model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def data(self, state: str | None = None) -> ProjectData:
        return ProjectData(image_ids=["one"] if state == preparing.STATE else [])

    async def images(self, ids: Any) -> list[Any]:
        return []

    async def download_image(self, image_id: str) -> bytes:
        raise NotInLoop("it was deleted")

    async def download_model(self, model_id: str, model_format: str, to: Path, **_: Any) -> None:
        shutil.make_archive(str(to.with_suffix("")), "zip", make_bundle(self._folder / "model"))


async def no_models(work: Workplace) -> None:
    """Look at no pictures with a model that is not fetched."""
    work.run.uploaded = {PYTORCH: "1234"}
    folder = work.folders.detector(work.run)
    make_bundle(folder)
    await findings.detect(work)


async def train(work: Workplace) -> None:
    running = Running(work, Watched(), lambda: asyncio.sleep(0), lambda *_: ["/bin/true"])
    await running.run()


STAGES: list[tuple[str, str, Stage]] = [
    ("make folders", "base", lambda work: work.make_folder(work.folders.base(work.run))),
    ("remove", "base", lambda work: work.remove(work.folders.base(work.run))),
    ("write", "model.json", lambda work: work.fetch_model("1", work.folders.detector(work.run))),
    ("remember", dataset.ANNOTATIONS, preparing.download_data),
    ("remember", look.TASK, no_models),
    ("remove", "old.jpg", no_models),
    ("remember", jobs.JOB_JSON, train),
]


@pytest.mark.parametrize(("step", "name", "stage"), STAGES, ids=[f"{step} {name}" for step, name, _ in STAGES])
def test_it_ends_when_the_thread_has_ended(tmp_path: Path, step: str, name: str, stage: Stage) -> None:
    held = Held()
    project: Any = Project(tmp_path)
    work = Workplace(
        run=new_run("acme", "cups", DETAILS, now=0.0),
        project=project,
        folders=Folders(tmp_path),
        settings=TrainerSettings(data_folder=tmp_path),
        files=HeldFiles(held, step, name),
        save=lambda: asyncio.sleep(0),
        tell=lambda _share: None,
    )
    for folder in (work.folders.images(work.run), work.folders.training(work.run)):
        folder.mkdir(parents=True)
    (work.folders.images(work.run) / "old.jpg").touch()
    if (step, name) == ("remove", "base"):
        work.folders.base(work.run).mkdir()

    async def story() -> None:
        assert not await held.cancelled(stage(work))  # type: ignore[arg-type]

    asyncio.run(story())
