"""A trainer as a process of its own, which can be made to die by SIGKILL at any step that it does on its disk.

    python -m tests.support.trainer_process LOOP FOLDER NAME WEIGHTS STAGE STEP

It goes on until it is idle again, and dies before step number STEP (from 1) that it does on the disk while it is in STAGE;
0: as soon as it is written down that the stage is done. It writes `idle` on standard output when it comes to its end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from models.files import FileSystem
from models.wire.training import PretrainedModel
from tests.support import fake_training
from trainer_companion import download
from trainer_companion.node import Trainer
from trainer_companion.run_state import RUN
from trainer_companion.settings import TrainerSettings
from trainer_companion.workplace import Workplace


class DyingFiles(FileSystem):
    """The disk of a trainer that is about to be killed."""

    def __init__(self, stage: str, step: int) -> None:
        self.trainer: Trainer | None = None
        self._stage, self._left = stage, step
        self._whole = step == 0

    def _step(self) -> None:
        if self._whole or not self._in_stage:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def _in_stage(self) -> bool:
        return self.trainer is not None and self.trainer.walk is not None and self.trainer.walk.during == self._stage

    def create_exclusive(self, path: Path) -> BinaryIO:
        self._step()
        return super().create_exclusive(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def write_atomically(self, path: Path, data: bytes) -> None:
        before = None if self.trainer is None or self.trainer.run is None else self.trainer.run.state
        super().write_atomically(path, data)
        done = path.name == RUN and self._in_stage and self._whole and before is not None
        if done and f'"state": "{before}"'.encode() in data and before == ENDS[self._stage]:
            os.kill(os.getpid(), signal.SIGKILL)


ENDS = {
    "data_downloading": "data_downloaded",
    "train_model_downloading": "train_model_downloaded",
    "running": "training_finished",
    "confusion_matrix_syncing": "confusion_matrix_synced",
    "train_model_uploading": "train_model_uploaded",
    "detecting": "detected",
    "detection_uploading": "ready_for_cleanup",
    "ready_for_cleanup": "ready_for_cleanup",
}


async def live(loop: str, folder: Path, name: str, weights: Path, files: DyingFiles) -> None:
    """Connect, train what is to be trained, and end."""

    async def copy(_work: Workplace, bundle: Path, out: Path) -> None:
        await asyncio.to_thread(shutil.copytree, bundle, out)

    def command(job: Path, _processes: int) -> list[str]:
        program = [sys.executable, "-m", fake_training.__name__, "--weights", str(weights)]
        return [*program, "--epochs", "3", "--pause", "0.1", str(job)]

    async def hurry(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))

    trainer = Trainer(
        TrainerSettings(loop_host=loop, data_folder=folder, node_name=name),
        restart=lambda: None,
        stop=lambda: None,
        files=files,
        variants=lambda: [PretrainedModel(name="small")],
        command=command,
        export=copy,
        sleep=hurry,
    )
    files.trainer = trainer
    await trainer.start()
    await trainer.connection.switch(True)
    try:
        while trainer.run is None:
            await asyncio.sleep(0.02)
        while trainer.run is not None:
            await asyncio.sleep(0.02)
        assert trainer.connection.node is not None
        while not trainer.connection.node.is_connected:
            await asyncio.sleep(0.02)
        await trainer.tell_now()
        print("idle", flush=True)
    finally:
        await trainer.close()
        await trainer.connection.close()


def main() -> None:
    loop, folder, name, weights, stage, step = sys.argv[1:]
    download.SYNC_EVERY = 2
    asyncio.run(live(loop, Path(folder), name, Path(weights), DyingFiles(stage, int(step))))


if __name__ == "__main__":
    main()
