"""The settings of a trainer node; those that learning-loop-node's trainers have keep their names and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from companions.settings import CompanionSettings
from models.setting_types import named


def _in_a_folder(path: Path) -> Path:
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}; mount it from the host")
    return path


class TrainerSettings(CompanionSettings):
    """What is in force. See `CompanionSettings`."""

    companion: ClassVar[str] = "trainer"

    port: Annotated[int, named("NODE_PORT")] = Field(default=8024, ge=0, le=65535, description="TCP port of the server")
    inference_batch_size: int = Field(
        default=10, ge=1, le=1024, description="pictures that the new model looks at together"
    )
    restart_after_training: bool = Field(default=False, description="start anew after each training")
    keep_old_trainings: bool = Field(
        default=False, description="keep the folders of former trainings when a new one begins in the same project"
    )
    trainer_idle_timeout_sec: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="end the program after so many idle seconds; 0: never"
    )
    training_slot_lock: Annotated[Path, AfterValidator(_in_a_folder)] | None = Field(
        default=None, description="file whose lock says which trainer of this machine may train; none: this one, always"
    )
    vram_limit_gb: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="memory of a graphics card that may be used, GiB; 0: all"
    )
    training_processes: int = Field(
        default=0, ge=0, le=64, description="processes that train together; 0: one for each graphics card, else one"
    )
    training_silence_sec: float = Field(
        default=1800.0, gt=0, allow_inf_nan=False, description="a training that says nothing for so many seconds hangs"
    )
