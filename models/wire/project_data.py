"""What a Learning Loop tells trainers and annotators of the images of a project."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.wire.detections import none_as_empty
from models.wire.image_metadata import ImageMetadata
from models.wire.model_information import Category


class ProjectData(BaseModel):
    """Answer of `GET .../data`: the ids of the images in a state, or of all, and the categories of the project."""

    model_config = ConfigDict(extra="allow")

    image_ids: list[str]
    categories: Annotated[list[Category], BeforeValidator(none_as_empty)] = Field(default_factory=list)


class ImageData(ImageMetadata):
    """One image in the answer of `GET .../images?ids=`: what people drew on it and what a model found.

    `set` is `train`, `test` or `val`; width and height are in pixels.
    """

    id: str
    set: str
    width: int | None = None
    height: int | None = None


class ImagesData(BaseModel):
    """Answer of `GET .../images?ids=`."""

    model_config = ConfigDict(extra="allow")

    images: list[ImageData]
