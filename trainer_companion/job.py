"""What a training is asked to do: one folder, one file of JSON in it, one subprocess that does it.

    JOB_FOLDER/
      job.json             this
      checkpoints/last.pt  from which the training goes on when it is started again
      best/<number>/       the best models so far, bundles of format `appliance_pytorch`; the highest is the best

The command line and the node both start `trainer_companion.training` with the folder's path and read what it prints
(`trainer_companion.progress`). SIGTERM asks it to stop soon and keep the best model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import InvalidInput
from models.files import FILE_SYSTEM, FileSystem, refusal

JOB_JSON = "job.json"
CHECKPOINT = "checkpoints/last.pt"
BEST = "best"

MODULE = "trainer_companion.training"


class Job(BaseModel):
    """One training.

    `dataset`: folder with `images/` and `annotations.json` (COCO). `variant`: name of a variant of a recipe
    (`trainer_companion.recipes`). `base`: folder of a bundle whose weights are taken as far as they fit; alone, it also
    says which network is trained. One of the two is needed. `hyperparameters`: those that differ from their defaults,
    as the recipe documents them. `minutes`: no longer than this. `device`: `auto` is the graphics card where PyTorch
    finds one. `vram_limit_gb`: GiB of a card's memory that each process may use; None: all.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    dataset: Path
    variant: str | None = None
    base: Path | None = None
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    vram_limit_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _says_what_to_train(self) -> Job:
        if self.variant is None and self.base is None:
            raise ValueError("a training needs the name of a variant or a base model")
        return self


def write(folder: Path, job: Job, files: FileSystem = FILE_SYSTEM) -> None:
    """Put `job` into its folder, which is made where it is missing. Blocks. Raises `StorageRefused`."""
    try:
        files.make_folders(folder)
        files.write_atomically(folder / JOB_JSON, job.model_dump_json(indent=1).encode())
    except OSError as error:
        raise refusal(error, "write down the training") from error


def read(folder: Path) -> Job:
    """The job of a folder. Blocks. Raises `InvalidInput` where there is none, or one that cannot be understood."""
    try:
        return Job.model_validate_json((folder / JOB_JSON).read_bytes())
    except OSError as error:
        raise InvalidInput(
            f"There is no training in {folder}: {JOB_JSON} cannot be read ({error.strerror})."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{folder / JOB_JSON} is no training: {where}: {first['msg']}.") from error


def command(folder: Path, processes: int = 1, torchrun: Sequence[str] = ()) -> list[str]:
    """The command that trains what is in `folder`, or goes on with it.

    `processes`: how many of this machine work on it together, as a rule one a graphics card. `torchrun`: its further
    options, where several machines do, for example `--nnodes=2 --node-rank=1 --master-addr=gpu-1`.
    """
    if processes == 1 and not torchrun:
        return [sys.executable, "-m", MODULE, str(folder)]
    rendezvous = list(torchrun) or ["--standalone"]
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", *rendezvous]
    return [*start, "-m", MODULE, str(folder)]


def environment(outer: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for `command`: that of this process, or `outer`, and one thread a process.

    Two OpenMP threads that wait for each other by spinning can be ten times slower than one on a busy machine. Whoever
    sets these variables is obeyed.
    """
    base = dict(os.environ if outer is None else outer)
    return {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **base}


def forget(folder: Path, files: FileSystem = FILE_SYSTEM) -> None:
    """Remove what a training left in `folder`, the folder too. Blocks. Raises `StorageRefused`."""
    try:
        files.remove_tree(folder)
    except OSError as error:
        raise refusal(error, f"remove {folder.name}") from error
