"""What a node says of a model: categories and identity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

CategoryType = Literal["box", "point", "segmentation", "classification"]


def _none_as_box(value: Any) -> Any:
    """Upstream's trainers write null where no type was given."""
    return "box" if value is None else value


class Category(BaseModel):
    """One thing that a model can tell. `point_size` is in pixels; the type is `box` where none is given."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str
    description: str | None = None
    hotkey: str | None = None
    color: str | None = None
    point_size: int | None = None
    type: Annotated[CategoryType, BeforeValidator(_none_as_box)] = "box"


class ModelInformation(BaseModel):
    """Answer of the Socket.IO event `info`, and `model_info` of `about`."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str
    host: str
    organization: str
    project: str
    version: str
    categories: list[Category] = Field(default_factory=list)
    resolution: int | None = None
    model_root_path: str | None = None
    model_size: str | None = None
    conf_threshold: float | None = None
