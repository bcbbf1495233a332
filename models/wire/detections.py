"""What a model has found, in pixels of the image as displayed (EXIF applied).

Boxes are top-left x, y, width, height; points are centres. `confidence` is 0..1; `model_name` is the model's *version*.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def none_as_empty(value: Any) -> Any:
    """Old clients send null where a list is due."""
    return [] if value is None else value


def whole_pixel(value: Any) -> Any:
    """Boxes are whole pixels; some clients send them as they computed them."""
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Pixel = Annotated[int, BeforeValidator(whole_pixel)]


class Detection(BaseModel):
    """What every kind of detection has. Is a classification as it stands."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    category_name: str
    model_name: str = ""
    confidence: float = Field(default=1.0, allow_inf_nan=False)
    category_id: str | None = None


class BoxDetection(Detection):
    """An axis-aligned box: top-left corner and size, pixels."""

    x: Pixel
    y: Pixel
    width: Pixel
    height: Pixel


class PointDetection(Detection):
    """The centre of a thing, pixels."""

    x: float = Field(allow_inf_nan=False)
    y: float = Field(allow_inf_nan=False)


class ShapePoint(BaseModel):
    """One corner of a shape, pixels."""

    model_config = ConfigDict(extra="allow")

    x: float = Field(allow_inf_nan=False)
    y: float = Field(allow_inf_nan=False)


class Shape(BaseModel):
    """A polygon."""

    model_config = ConfigDict(extra="allow")

    points: list[ShapePoint]


class SegmentationDetection(Detection):
    """A polygon: `"x,y,x,y,..."` as detectors write it, or a list of points as trainers do."""

    shape: str | Shape


class ClassificationDetection(Detection):
    """A statement about the whole image."""


Boxes = Annotated[list[BoxDetection], BeforeValidator(none_as_empty)]
Points = Annotated[list[PointDetection], BeforeValidator(none_as_empty)]
Segmentations = Annotated[list[SegmentationDetection], BeforeValidator(none_as_empty)]
Classifications = Annotated[list[ClassificationDetection], BeforeValidator(none_as_empty)]


class Detections(BaseModel):
    """The four lists, as ImageMetadata and `POST .../detections` carry them."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    box_detections: Boxes = Field(default_factory=list)
    point_detections: Points = Field(default_factory=list)
    segmentation_detections: Segmentations = Field(default_factory=list)
    classification_detections: Classifications = Field(default_factory=list)

    def __len__(self) -> int:
        return (
            len(self.box_detections)
            + len(self.point_detections)
            + len(self.segmentation_detections)
            + len(self.classification_detections)
        )


class ImageDetections(Detections):
    """What a trainer found in an image of the Loop, as an item of `POST .../detections`."""

    image_id: str | None = None
