"""One image with all that is known of it: the answer of `detect`, and what an upload brings along."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.wire.detections import Detections, Pixel, Shape, none_as_empty


class BoxAnnotation(BaseModel):
    """A box that a person drew: top-left corner and size, pixels."""

    model_config = ConfigDict(extra="allow")

    category_name: str
    x: Pixel
    y: Pixel
    width: Pixel
    height: Pixel
    category_id: str | None = None


class PointAnnotation(BaseModel):
    """A point that a person set, pixels."""

    model_config = ConfigDict(extra="allow")

    category_name: str
    x: float = Field(allow_inf_nan=False)
    y: float = Field(allow_inf_nan=False)
    category_id: str | None = None


class ClassificationAnnotation(BaseModel):
    """What a person says of the whole image."""

    model_config = ConfigDict(extra="allow")

    category_name: str
    category_id: str | None = None


class SegmentationAnnotation(BaseModel):
    """A polygon that a person drew with the help of an annotator."""

    model_config = ConfigDict(extra="allow")

    id: str
    shape: Shape
    image_id: str
    category_id: str


def _tag_list(value: Any) -> Any:
    """Tags come as list, as comma separated text, or as null."""
    if value is None:
        return []
    if isinstance(value, str):
        return [tag.strip() for tag in value.split(",") if tag.strip()]
    return value


class ImageMetadata(Detections):
    """Detections of a model, annotations of a person, and where the image comes from.

    `created` is text as the caller gave it (ISO 8601 or `YYYY-MM-DD_hh:mm:ss.mmm`); `state` is the state in which the
    Loop shall file the image (since node 0.23).
    """

    box_annotations: Annotated[list[BoxAnnotation], BeforeValidator(none_as_empty)] = Field(default_factory=list)
    point_annotations: Annotated[list[PointAnnotation], BeforeValidator(none_as_empty)] = Field(default_factory=list)
    classification_annotation: ClassificationAnnotation | None = None
    tags: Annotated[list[str], BeforeValidator(_tag_list)] = Field(default_factory=list)
    created: str | None = None
    source: str | None = None
    state: str | None = None


class ImagesMetadata(BaseModel):
    """Answer of `batch_detect`: one item per image, in order."""

    items: list[ImageMetadata] = Field(default_factory=list)
