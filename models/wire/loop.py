"""What a detector and a Learning Loop tell each other about models: target, list, status."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.wire.detections import none_as_empty
from models.wire.node_status import OperationMode


class DeploymentTarget(BaseModel):
    """Answer of `GET .../deployment/target`: the model that the detectors of a project shall run."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_uuid: str
    version: str


class LoopModel(BaseModel):
    """One item of `GET .../models`. `version` is null while a model is not published."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str
    version: str | None = None
    formats: Annotated[list[str], BeforeValidator(none_as_empty)] = Field(default_factory=list)
    created: str | None = None
    comment: str | None = None
    host: str | None = None


class LoopProjectName(BaseModel):
    """One item of `GET /api/projects`: a project that whoever asks may see."""

    model_config = ConfigDict(extra="allow")

    organization_id: str
    project_id: str


class DetectorStatus(BaseModel):
    """Body of `POST .../detectors`. `uptime` is in seconds; `errors` is key -> sentence (`update_model` above all)."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    uuid: str
    name: str
    state: str = "online"
    uptime: int = 0
    model_format: str
    current_model: str | None = None
    target_model: str | None = None
    errors: dict[str, str] = Field(default_factory=dict)
    operation_mode: OperationMode = "startup"
    node_version: str | None = None
