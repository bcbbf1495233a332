"""How pages call things that have short names elsewhere."""

from __future__ import annotations

from datetime import datetime

from models.runtimes.base import Choice

ACCELERATORS = {"cpu": "the processor", "edgetpu": "Edge TPU", "cuda": "GPU", "tensorrt": "GPU (TensorRT)"}


def accelerator(choice: Choice) -> str:
    """What a model runs on."""
    return ACCELERATORS.get(choice.accelerator, choice.accelerator)


def moment(when: datetime) -> str:
    """A time of day of this box: 22 Nov, 14:03:12."""
    local = when.astimezone()
    return f"{local.day} {local:%b, %H:%M:%S}"


def minute(when: datetime) -> str:
    """The same without seconds, for what is not told anew each second: 22 Nov, 14:03."""
    local = when.astimezone()
    return f"{local.day} {local:%b, %H:%M}"
