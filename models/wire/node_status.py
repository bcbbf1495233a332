"""What a detector says of itself: `about`, the model version, modes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.wire.model_information import ModelInformation

OperationMode = Literal["startup", "idle", "detecting"]
OutboxMode = Literal["continuous_upload", "stopped"]
VersionControl = Literal["follow_loop", "specific_version", "pause"]
Autoupload = Literal["filtered", "all", "disabled"]


class ModelVersionResponse(BaseModel):
    """Answer of `GET /model_version`. A version that is not known is the text `None`, as upstream writes it."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    current_version: str = "None"
    target_version: str = "None"
    loop_version: str = "None"
    local_versions: list[str] = Field(default_factory=list)
    version_control: VersionControl = "follow_loop"


class AboutResponse(BaseModel):
    """Answer of `GET /about`. Keys beyond upstream's five tell what this box adds."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    operation_mode: OperationMode
    state: str
    model_info: ModelInformation | None
    target_model: str | None
    version_control: VersionControl
