"""The training that a trainer has, written down so that a trainer that was killed goes on where it was.

DATA/training.json     the training under way; none: the trainer is idle
DATA/last_training.json  how the last one ended, for people
DATA/projects/<organization>/<project>/
  images/              pictures, kept from one training to the next
  annotations.json     what the training under way learns from
  trainings/<id>/      everything that belongs to one training
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InvalidInput
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.wire.training import TrainingDetails
from trainer_companion.progress import Best
from trainer_companion.stages import State

log = logging.getLogger(__name__)

RUN = "training.json"
LAST = "last_training.json"
PROJECTS = "projects"
TRAININGS = "trainings"

MOST_BYTES = 64 * 1024 * 1024

LONGEST_NAME = 150
"""Characters of a folder's name; disks take 255 bytes."""


class Run(BaseModel):
    """One training. `started` is in seconds since 1970.

    `stopping`: a person wants what has been learnt so far. `best` is the best model that the training has told of;
    `best_is_told`, whether the Loop knows its metrics. `uploaded` is format -> the id that the Loop gave, None where it
    gave none. `looked_at`: the pictures for the new model have been chosen, and are written down. `errors` are those of
    stages that cannot succeed.
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    version: Literal[1] = 1
    id: str
    organization: str
    project: str
    details: TrainingDetails
    state: State = "initialized"
    started: float
    stopping: bool = False
    aborted: bool = False
    train_images: int | None = None
    test_images: int | None = None
    skipped_image_count: int | None = None
    skipped_annotations: int = 0
    architecture: str | None = None
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    best: Best | None = None
    best_is_told: bool = True
    uploaded: dict[str, str | None] = Field(default_factory=dict)
    looked_at: bool = False
    errors: dict[str, str] = Field(default_factory=dict)

    @property
    def model_id(self) -> str | None:
        """What the Loop calls the new model, as far as it has said that."""
        return next((id for id in self.uploaded.values() if id is not None), None)

    @property
    def name(self) -> str:
        """For people."""
        return f"training {self.details.training_number} of {self.organization}/{self.project}"


class LastRun(BaseModel):
    """How the last training ended. `ended` is in seconds since 1970."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    organization: str
    project: str
    training_number: int
    ended: float
    outcome: Literal["finished", "failed", "aborted"]
    model_id: str | None = None
    map50: float | None = None
    accuracy: float | None = None
    errors: dict[str, str] = Field(default_factory=dict)


def new_run(organization: str, project: str, details: Any, *, now: float | None = None) -> Run:
    """A training as the Loop asks for it. Raises `InvalidInput`, naming what is missing or wrong."""
    try:
        parsed = TrainingDetails.model_validate(details)
        return Run(
            id=str(uuid.uuid4()),
            organization=organization,
            project=project.lower(),
            details=parsed,
            started=time.time() if now is None else now,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the details"
        raise InvalidInput(f"the training cannot begin: {where}: {first['msg']}") from error
    except AttributeError as error:
        raise InvalidInput("the training cannot begin: organization and project should be texts") from error


class Folders:
    """Where the things of trainings lie below `data`. Names of the Loop become harmless names of folders. Pure."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def project(self, run: Run) -> Path:
        """Of the project: the dataset."""
        return self.data / PROJECTS / _safe(run.organization) / _safe(run.project)

    def images(self, run: Run) -> Path:
        """Pictures of the project."""
        return self.project(run) / "images"

    def training(self, run: Run) -> Path:
        """What belongs to this training alone."""
        return self.project(run) / TRAININGS / run.id

    def job(self, run: Run) -> Path:
        """Of the subprocess."""
        return self.training(run) / "job"

    def base(self, run: Run) -> Path:
        """The base model, where there is one."""
        return self.training(run) / "base"

    def detector(self, run: Run) -> Path:
        """The new model as the Loop hands it out."""
        return self.training(run) / "detector"

    def detections(self, run: Run) -> Path:
        """What the new model has found and is not sent yet."""
        return self.training(run) / "detections"


class RunStore:
    """The file of the training under way. All methods block and raise `StorageRefused`."""

    def __init__(self, data: Path, files: FileSystem = FILE_SYSTEM) -> None:
        self._data = data
        self._files = files

    def read(self) -> Run | None:
        """The training to go on with. A file that cannot be understood is kept aside: the trainer is idle then."""
        path = self._data / RUN
        try:
            with path.open("rb") as file:
                return Run.model_validate_json(file.read(MOST_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refusal(error, f"read {path}") from error
        except ValidationError as error:
            aside = path.with_name(f"{RUN}.corrupt")
            log.error("%s cannot be understood and is kept as %s: %s", path, aside.name, str(error)[:300])
            try:
                self._files.rename_durably(path, aside)
            except OSError as refused:
                raise refusal(refused, f"set {path} aside") from refused
            return None

    def write(self, run: Run) -> None:
        """Write it down: on return it survives a power cut."""
        self._write(RUN, run)

    def finish(self, last: LastRun) -> None:
        """Note how the training ended, and that there is none any more."""
        self._write(LAST, last)
        try:
            self._files.remove_tree(self._data / RUN)
            self._files.sync_folder(self._data)
        except OSError as error:
            raise refusal(error, "end the training") from error

    def last(self) -> LastRun | None:
        """How the last training ended; None where that is not known."""
        try:
            with (self._data / LAST).open("rb") as file:
                return LastRun.model_validate_json(file.read(MOST_BYTES))
        except (OSError, ValidationError):
            return None

    def _write(self, name: str, document: BaseModel) -> None:
        try:
            self._files.make_folders(self._data)
            self._files.write_atomically(self._data / name, document.model_dump_json(indent=1).encode())
        except OSError as error:
            raise refusal(error, "write down how the training stands") from error


def _safe(name: str) -> str:
    """A name of the Loop as a name of a folder: never empty, never one that leads elsewhere."""
    quoted = quote(name, safe="")
    if len(quoted) > LONGEST_NAME:
        quoted = f"{quoted[:80]}-{hashlib.sha256(name.encode()).hexdigest()}"
    return f"_{quoted}" if quoted.startswith(".") or not quoted else quoted
