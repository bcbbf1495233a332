"""What a training says while it works: one JSON object a line, on standard output, from one of its processes.

Whoever starts a training reads these lines; whatever else stands on standard output is no event and is passed over.
Categories are named by the Loop's id where they have one (`loop_id`), else by their name. Shares, scores and mAP are
0..1, times are seconds.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class Confusion(BaseModel):
    """Detections of one category on held-out pictures: right ones, wrong ones, and things that were not found."""

    tp: int = 0
    fp: int = 0
    fn: int = 0


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Judged(_Event):
    """How good a model is on pictures that are held out, 0..1: `map50` and `map` of one that finds things, `accuracy`, the
    share of the pictures whose surest class is the right one, of one that classifies pictures as a whole; its mAPs say nothing.
    """

    map50: float = 0.0
    map: float = 0.0
    accuracy: float | None = None

    @property
    def judgement(self) -> str:
        """For people."""
        if self.accuracy is not None:
            return f"accuracy {self.accuracy:.3f}"
        return f"mAP50 {self.map50:.3f}, mAP {self.map:.3f}"


class Started(_Event):
    """The training is prepared and begins. `epoch`: 0, or that in which it goes on. Counts of images are of pictures
    that are used; `hyperparameters` are all that are in force, `batch_size` (pictures a step and process) as it was found.
    """

    event: Literal["started"] = "started"
    variant: str | None = None
    architecture: str
    device: str
    processes: int = 1
    parameters: int = 0
    train_images: int
    val_images: int
    test_images: int
    batch_size: int
    epoch: int = 0
    hyperparameters: dict[str, float | int | bool | str | None] = Field(default_factory=dict)


class Reading(_Event):
    """Now and then while the pictures are decoded, before `started`: about so many `pictures` of all."""

    event: Literal["reading"] = "reading"
    pictures: int
    of: int


class Progress(_Event):
    """Now and then, at least at the end of each epoch. `share` of the whole; `loss` is the mean since the last one,
    and where `step` is 0 that of the whole epoch before.

    `map50`, or `accuracy` of what classifies pictures, is that of the epoch's model on the pictures held out, None where it
    was not measured since. `gpu_memory_gb`: the most that the leading process has used of its card, GiB.
    """

    event: Literal["progress"] = "progress"
    share: float
    epoch: int
    step: int
    loss: float | None = None
    map50: float | None = None
    accuracy: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    gpu_memory_gb: float | None = None


class Best(Judged):
    """A model better than all before it lies in `bundle` (a folder, format `appliance_pytorch`), complete.

    `confusion_matrix` counts at `conf_threshold`, the confidence with the highest F1, and, of boxes, at `confusion_iou`.
    """

    event: Literal["best"] = "best"
    epoch: int
    conf_threshold: float
    confusion_iou: float = 0.5
    confusion_matrix: dict[str, Confusion]
    bundle: str


class Warned(_Event):
    """Something that a person should know, as a sentence; the training goes on."""

    event: Literal["warning"] = "warning"
    message: str


class Done(Judged):
    """The end. `bundle` is the best model; it is judged on the test pictures (on those held out, where there are no test
    pictures). `reason`: all `epochs`, `minutes` over, `patience` lost, or `stopped` by SIGTERM.
    """

    event: Literal["done"] = "done"
    reason: Literal["epochs", "minutes", "patience", "stopped"]
    epochs: int
    best_epoch: int
    seconds: float
    bundle: str


class Failed(_Event):
    """The end, without more. `again`: starting the same job again at once goes on from its checkpoint, and can succeed;
    `later`: it can when something around it has changed (there is room on the disk again). Without either, something has
    to be changed first: that is what `message` says.
    """

    event: Literal["failed"] = "failed"
    message: str
    again: bool = False
    later: bool = False


Event = Started | Reading | Progress | Best | Warned | Done | Failed

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])

LONGEST_LINE = 1_000_000
"""Characters; a longer line is no event."""


def parse(line: str | bytes) -> Event | None:
    """The event of a line; None for anything else."""
    if len(line) > LONGEST_LINE or line.lstrip()[:1] not in ("{", b"{"):
        return None
    try:
        return _EVENTS.validate_json(line)
    except ValidationError:
        return None


def say(event: Event, stream: TextIO | None = None) -> None:
    """Write one line, at once."""
    print(event.model_dump_json(), file=stream or sys.stdout, flush=True)
