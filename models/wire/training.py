"""What a trainer and a Learning Loop tell each other, and an annotation node and a Loop."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.wire.detections import none_as_empty
from models.wire.image_metadata import SegmentationAnnotation
from models.wire.model_information import Category

__all__ = [
    "AnnotationNodeStatus",
    "Context",
    "PretrainedModel",
    "SegmentationAnnotation",
    "SocketResponse",
    "TrainingDetails",
    "TrainingOut",
    "TrainingStatus",
    "UserInput",
]

TRAINER_IDLE = frozenset({"idle", "blocked"})
"""States of a trainer that has no training; `blocked` (since node 0.25) because another one holds the graphics card."""


def _none_as_mapping(value: Any) -> Any:
    """Nodes send null where an object is due."""
    return {} if value is None else value


class Context(BaseModel):
    """A project of an organization."""

    model_config = ConfigDict(extra="allow")

    organization: str
    project: str


class PretrainedModel(BaseModel):
    """A variant from which a trainer can start without a base model; `name` comes back as `model_variant`."""

    model_config = ConfigDict(extra="allow")

    name: str
    label: str = ""
    description: str = ""


class TrainingStatus(BaseModel):
    """Argument of the event `update_trainer`. `uptime` is in seconds, `progress` 0..1 of what `state` says."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str
    name: str
    state: str | None = None
    uptime: float | None = Field(default=None, allow_inf_nan=False)
    errors: Annotated[dict[str, Any], BeforeValidator(_none_as_mapping)] = Field(default_factory=dict)
    progress: float | None = Field(default=None, allow_inf_nan=False)
    pretrained_models: Annotated[list[PretrainedModel], BeforeValidator(none_as_empty)] = Field(default_factory=list)
    architecture: str | None = None
    context: Context | None = None


class TrainingOut(BaseModel):
    """Last argument of the event `update_training`: the best model so far.

    `confusion_matrix` is category id -> `{tp, fp, fn}`. It does not say the number of the training: it is that which the
    trainer runs.
    """

    model_config = ConfigDict(extra="allow")

    trainer_id: str
    trainer_name: str | None = None
    confusion_matrix: dict[str, Any] | None = None
    train_image_count: int | None = None
    test_image_count: int | None = None
    hyperparameters: dict[str, Any] | None = None
    best_epoch: int | None = None


class TrainingDetails(BaseModel):
    """Last argument of the event `begin_training`. `base_model_uuid` None: from the `model_variant`, from scratch."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    categories: list[Category]
    hyperparameters: dict[str, Any]
    training_number: int
    model_variant: str
    base_model_uuid: str | None = None


class AnnotationNodeStatus(BaseModel):
    """Argument of the event `update_annotation_node`. `uptime` is in seconds."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str
    state: str | None = None
    uptime: float | None = Field(default=None, allow_inf_nan=False)
    errors: Annotated[dict[str, Any], BeforeValidator(_none_as_mapping)] = Field(default_factory=dict)
    capabilities: Annotated[list[str], BeforeValidator(none_as_empty)] = Field(default_factory=list)


class Coordinate(BaseModel):
    """Where the mouse is, pixels of the image."""

    model_config = ConfigDict(extra="allow")

    x: int
    y: int


class AnnotationData(BaseModel):
    """What a person did with mouse or keyboard while annotating."""

    model_config = ConfigDict(extra="allow")

    coordinate: Coordinate
    event_type: str
    context: Context
    image_uuid: str
    category: Category
    key_up: str | None = None
    key_down: str | None = None
    epsilon: float | None = Field(default=None, allow_inf_nan=False)
    is_shift_key_pressed: bool | None = None


class UserInput(BaseModel):
    """Argument of the event `handle_user_input`; `frontend_id` tells one open page from another."""

    model_config = ConfigDict(extra="allow")

    frontend_id: str
    data: AnnotationData


class SocketResponse(BaseModel):
    """How nodes and Loops acknowledge each other's events."""

    model_config = ConfigDict(extra="allow")

    success: bool
    error_msg: str | None = None
    payload: Any = None
