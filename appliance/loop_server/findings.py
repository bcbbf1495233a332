"""Detections and annotations as the tables hold them and the wire has them. Pure.

Detections are kept together by the version of the model that found them; annotations one by one. Of both the category is
resolved when they come in, and named as it is called now when they go out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row

from appliance.loop_server.categories import Resolver
from models.errors import InvalidInput
from models.wire.detections import Detections, Shape, ShapePoint
from models.wire.image_metadata import BoxAnnotation, ClassificationAnnotation, ImageMetadata, PointAnnotation

DETECTION_LISTS = (
    "box_detections",
    "point_detections",
    "segmentation_detections",
    "classification_detections",
)

MAX_ANNOTATIONS = 10_000
"""Of one image."""


class PolygonAnnotation(BaseModel):
    """A polygon that a person drew, pixels."""

    model_config = ConfigDict(extra="allow")

    id: str | None = Field(default=None, max_length=255)
    category_name: str = ""
    category_id: str | None = None
    shape: Shape


class Annotations(BaseModel):
    """All annotations of one image."""

    model_config = ConfigDict(extra="ignore")

    box_annotations: list[BoxAnnotation] = Field(default_factory=list, max_length=MAX_ANNOTATIONS)
    point_annotations: list[PointAnnotation] = Field(default_factory=list, max_length=MAX_ANNOTATIONS)
    segmentation_annotations: list[PolygonAnnotation] = Field(default_factory=list, max_length=MAX_ANNOTATIONS)
    classification_annotation: ClassificationAnnotation | None = None

    def __len__(self) -> int:
        drawn = len(self.box_annotations) + len(self.point_annotations) + len(self.segmentation_annotations)
        return drawn + (self.classification_annotation is not None)

    @classmethod
    def of(cls, metadata: ImageMetadata) -> Annotations:
        """Those that came with an image."""
        return cls(
            box_annotations=metadata.box_annotations,
            point_annotations=metadata.point_annotations,
            classification_annotation=metadata.classification_annotation,
        )


def by_model(found: Detections, resolver: Resolver) -> dict[str, dict[str, Any]]:
    """Model version -> the lists of what it has found, categories resolved, polygons as points."""
    sorted_out: dict[str, dict[str, Any]] = {}
    for name in DETECTION_LISTS:
        for detection in getattr(found, name):
            document = detection.model_dump(mode="json")
            document["category_id"], document["category_name"] = resolver.resolve(
                detection.category_id, detection.category_name
            )
            if "shape" in document:
                document["shape"] = _as_points(document["shape"])
            lists = sorted_out.setdefault(detection.model_name, {})
            lists.setdefault(name, []).append(document)
    return sorted_out


def merged(rows: Iterable[Mapping[str, Any]], resolver: Resolver) -> dict[str, list[dict[str, Any]]]:
    """The four lists of all rows, with the names that the categories have now."""
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in DETECTION_LISTS}
    for found in rows:
        for name, into in lists.items():
            for each in found.get(name, ()):
                category_id, category_name = resolver.named(each.get("category_id"), each["category_name"])
                into.append({**each, "category_id": category_id, "category_name": category_name})
    return lists


def annotation_rows(image_key: int, given: Annotations, resolver: Resolver, *, strict: bool) -> list[dict[str, Any]]:
    """Rows for the table. With `strict` a category that the project does not have raises `InvalidInput`."""
    rows: list[dict[str, Any]] = []

    def add(kind: str, annotation: Any, geometry: dict[str, Any]) -> None:
        category_id, name = resolver.resolve(annotation.category_id, annotation.category_name)
        if strict and category_id is None:
            raise InvalidInput(
                f"There is no category {annotation.category_id or annotation.category_name!r} in this project; "
                "make it first, or correct the annotation"
            )
        # Boxes and points of the wire have no ids; those of people who send back what they got are kept.
        given_id = getattr(annotation, "id", None)
        rows.append(
            {
                "image_key": image_key,
                "id": given_id[:255] if isinstance(given_id, str) and given_id else str(uuid4()),
                "kind": kind,
                "position": len(rows),
                "category_id": category_id,
                "category_name": name,
                "geometry": geometry,
            }
        )

    for box in given.box_annotations:
        add("box", box, {"x": box.x, "y": box.y, "width": box.width, "height": box.height})
    for point in given.point_annotations:
        add("point", point, {"x": point.x, "y": point.y})
    for polygon in given.segmentation_annotations:
        add("segmentation", polygon, {"shape": points_of(polygon.shape)})
    if given.classification_annotation is not None:
        add("classification", given.classification_annotation, {})
    if len({row["id"] for row in rows}) != len(rows):
        raise InvalidInput("Two annotations of the image have the same id; leave the ids out, or make them differ")
    return rows


def annotations_out(rows: Iterable[Row[Any]], resolver: Resolver) -> dict[str, Any]:
    """The annotations of one image as the wire has them."""
    out: dict[str, Any] = {
        "box_annotations": [],
        "point_annotations": [],
        "segmentation_annotations": [],
        "classification_annotation": None,
    }
    for row in rows:
        category_id, category_name = resolver.named(row.category_id, row.category_name)
        document = {"id": row.id, "category_id": category_id, "category_name": category_name, **row.geometry}
        if row.kind == "classification":
            out["classification_annotation"] = document
        else:
            out[f"{row.kind}_annotations"].append(document)
    return out


def points_of(shape: Shape) -> dict[str, Any]:
    """`{"points": [{"x", "y"}, …]}`."""
    return {"points": [{"x": point.x, "y": point.y} for point in shape.points]}


def _as_points(shape: Any) -> Any:
    """A polygon that detectors write as `"x,y,x,y,…"` as trainers write it; text that is none stays what it is."""
    if not isinstance(shape, str):
        return shape
    try:
        numbers = [float(part) for part in shape.split(",")] if shape.strip() else []
    except ValueError:
        return shape
    if len(numbers) % 2 or not all(map(math.isfinite, numbers)):
        return shape
    return points_of(Shape(points=[ShapePoint(x=x, y=y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]))
