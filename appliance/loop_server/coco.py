"""Projects as COCO has them (https://cocodataset.org/#format-data): images and annotations as one JSON document. Pure.

Boxes and polygons are what COCO means by `bbox` and `segmentation`. A point is a keypoint, the only one of its category;
a classification is a `bbox` around the whole image. Which of these a category is, says its `type`, which we write and others
do not have; other documents are read as boxes, or as what the person who imports them says.

Coordinates are pixels of the image as displayed, EXIF orientation applied.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from appliance.loop_server.categories import NewCategory
from appliance.loop_server.findings import Annotations, PolygonAnnotation
from appliance.loop_server.tables import STATES
from models.errors import InvalidInput
from models.images import ImageHeader
from models.wire.detections import Shape, ShapePoint
from models.wire.image_metadata import BoxAnnotation, ClassificationAnnotation, PointAnnotation
from models.wire.model_information import Category, CategoryType

DOCUMENT = "annotations.json"
"""Name of the document in an exported zip; the pictures are beside it, in `images/`."""

MAX_ANNOTATIONS = 5_000_000

CocoId = int | str


def _only_lists(value: Any) -> Any:
    """Polygons; a mask as run lengths (`iscrowd`) is none."""
    return value if isinstance(value, list) else None


class CocoImage(BaseModel):
    """An image of the document; the keys after `height` are ours."""

    model_config = ConfigDict(extra="ignore")

    id: CocoId
    file_name: Annotated[str, Field(min_length=1, max_length=1024)]
    width: int | None = None
    height: int | None = None
    date_captured: Any = None
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    loop_id: str | None = None
    state: str | None = None
    tags: list[str] = Field(default_factory=list)
    source: str | None = None
    created: str | None = None


class CocoCategory(BaseModel):
    """A category of the document; the keys after `name` are ours."""

    model_config = ConfigDict(extra="ignore")

    id: CocoId
    name: str
    type: CategoryType | None = None
    description: str | None = None
    hotkey: str | None = None
    color: str | None = None
    point_size: int | None = None


class CocoAnnotation(BaseModel):
    """An annotation: `bbox` is x, y, width, height; a polygon of `segmentation` is x, y, x, y, …."""

    model_config = ConfigDict(extra="ignore")

    image_id: CocoId
    category_id: CocoId
    bbox: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)] | None = None
    segmentation: Annotated[list[list[FiniteFloat]] | None, BeforeValidator(_only_lists)] = None
    keypoints: list[FiniteFloat] | None = None


class Coco(BaseModel):
    """A document."""

    model_config = ConfigDict(extra="ignore")

    images: list[CocoImage]
    categories: list[CocoCategory] = Field(default_factory=list)
    annotations: Annotated[list[CocoAnnotation], Field(max_length=MAX_ANNOTATIONS)] = Field(default_factory=list)


class NotCocoError(InvalidInput):
    """A JSON file of something else: it has no list of images."""


def parse(data: bytes, name: str) -> Coco:
    """Raises `NotCocoError`, and `InvalidInput` for what is wrong in a document or refers to what it does not have."""
    try:
        document = Coco.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        sentence = f"{name[:200]} is no COCO document: {where + ': ' if where else ''}{first['msg']}"
        is_other = first["loc"] in {(), ("images",)} and first["type"] != "json_invalid"
        raise (NotCocoError if is_other else InvalidInput)(sentence) from error
    images, categories = [each.id for each in document.images], [each.id for each in document.categories]
    for ids, what in ((images, "images"), (categories, "categories")):
        if len(set(ids)) != len(ids):
            raise InvalidInput(f"{name[:200]}: two {what} have the same id")
    known_images, known_categories = set(images), set(categories)
    for each in document.annotations:
        if each.image_id not in known_images or each.category_id not in known_categories:
            raise InvalidInput(
                f"{name[:200]}: an annotation is of image {each.image_id!r} and category {each.category_id!r}, and the "
                "document does not have both"
            )
    return document


# Out of a document


@dataclass
class Reading:
    """What a document says of one image, as the loop has it; `left_out` counts what it cannot have, by reason."""

    image: CocoImage
    annotations: Annotations
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> str:
        """What the document says; else complete where it is annotated, inbox where it is not."""
        if self.image.state in STATES:
            return str(self.image.state)
        return "complete" if len(self.annotations) else "inbox"

    @property
    def name(self) -> str:
        """What the image is called in the loop."""
        return self.image.name or PurePosixPath(self.image.file_name.replace("\\", "/")).stem[:255] or "image"


Kinds = Mapping[str, CategoryType]
"""Name of a category -> what its annotations are."""


def kinds_of(document: Coco, there: Kinds, otherwise: CategoryType) -> dict[str, CategoryType]:
    """What the annotations of each category are: what the project says, else the document, else `otherwise`."""
    return {each.name.strip(): there.get(each.name.strip()) or each.type or otherwise for each in document.categories}


def new_categories(document: Coco, there: Kinds, otherwise: CategoryType) -> list[NewCategory]:
    """The categories that the project lacks. Raises `InvalidInput` for a name that none can have."""
    found: dict[str, NewCategory] = {}
    for each in document.categories:
        if each.name.strip() in there:
            continue
        try:
            new = NewCategory(**{**each.model_dump(exclude={"id"}), "type": each.type or otherwise})
        except ValidationError as error:
            raise InvalidInput(f"The category {each.name[:60]!r} cannot be made: {error.errors()[0]['msg']}") from error
        found.setdefault(new.name, new)
    return list(found.values())


def read(document: Coco, kinds: Kinds, headers: Mapping[CocoId, ImageHeader]) -> list[Reading]:
    """What the document says of each of its images. `headers` tells the size of each; boxes are clipped to it."""
    names = {each.id: each.name.strip() for each in document.categories}
    by_image: dict[CocoId, Reading] = {each.id: Reading(each, Annotations()) for each in document.images}
    for annotation in document.annotations:
        reading, name = by_image[annotation.image_id], names[annotation.category_id]
        reason = _add(reading.annotations, annotation, name, kinds[name], headers[annotation.image_id])
        if reason is not None:
            reading.left_out[reason] += 1
    return list(by_image.values())


def check_size(image: CocoImage, header: ImageHeader) -> None:
    """Raises `InvalidInput` where the document was made for a picture of another size, or that stands on its side."""
    if (
        image.width is not None
        and image.height is not None
        and (image.width, image.height) != (header.width, header.height)
    ):
        raise InvalidInput(
            f"{image.file_name[:200]} has {header.width} x {header.height} pixels as displayed (EXIF orientation applied), "
            f"but the document was made for {image.width} x {image.height}: its annotations would be in the wrong place"
        )


def _add(into: Annotations, given: CocoAnnotation, name: str, kind: str, header: ImageHeader) -> str | None:
    """Add what the loop can have of an annotation; why it cannot, otherwise."""
    if kind == "classification":
        if into.classification_annotation is not None:
            return "a second classification of an image"
        into.classification_annotation = ClassificationAnnotation(category_name=name)
        return None
    if kind == "point":
        points = _keypoints(given.keypoints or ())
        into.point_annotations.extend(PointAnnotation(category_name=name, x=x, y=y) for x, y in points)
        return None if points else "no visible keypoint"
    if kind == "segmentation":
        polygons = [_polygon(each) for each in given.segmentation or ()]
        whole = [each for each in polygons if each is not None]
        into.segmentation_annotations.extend(PolygonAnnotation(category_name=name, shape=each) for each in whole)
        return None if whole else "no polygon"
    box = None if given.bbox is None else clipped(given.bbox, header.width, header.height)
    if box is None:
        return "no box within the image"
    x, y, width, height = box
    into.box_annotations.append(BoxAnnotation(category_name=name, x=x, y=y, width=width, height=height))
    return None


def clipped(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int] | None:
    """x, y, width, height in whole pixels within an image of that size; None where nothing of the box is in it."""
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
    if not (left < right and top < bottom and all(map(math.isfinite, (right, bottom)))):
        return None
    x, y = round(left), round(top)
    return x, y, max(1, round(right) - x), max(1, round(bottom) - y)


def _keypoints(numbers: Sequence[float]) -> list[tuple[float, float]]:
    """x, y, visibility, x, y, visibility, …: those that are labelled."""
    triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=False)
    return [(x, y) for x, y, visibility in triples if visibility > 0]


def _polygon(numbers: Sequence[float]) -> Shape | None:
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    return Shape(points=[ShapePoint(x=x, y=y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)])


# Into a document


class Writer:
    """Makes a document of images, one after the other, and says under which name each lies in the zip."""

    def __init__(self, categories: Sequence[Category]) -> None:
        self._categories = list(categories)
        self._numbers = {category.id: number for number, category in enumerate(categories, start=1)}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._names: set[str] = set()
        self._left_out = 0

    def add(self, image: Mapping[str, Any]) -> str:
        """Add an image as `GET …/images` describes it; its name below `images/`."""
        number = len(self._images) + 1
        file_name = self._free_name(image["name"], "jpg" if image["format"] == "jpeg" else image["format"])
        self._images.append(
            {
                "id": number,
                "file_name": file_name,
                "width": image["width"],
                "height": image["height"],
                "date_captured": image["created"],
                "loop_id": image["id"],
                **{key: image[key] for key in ("name", "state", "set", "tags", "source", "created")},
            }
        )
        for box in image["box_annotations"]:
            corners = [box["x"], box["y"], box["width"], box["height"]]
            self._annotate(number, box, bbox=corners, area=box["width"] * box["height"], segmentation=[])
        for point in image["point_annotations"]:
            keypoints = [point["x"], point["y"], 2]
            self._annotate(
                number, point, bbox=[point["x"], point["y"], 0, 0], area=0, keypoints=keypoints, num_keypoints=1
            )
        for polygon in image["segmentation_annotations"]:
            points = [(each["x"], each["y"]) for each in polygon["shape"]["points"]]
            if points:
                flat = [number for point in points for number in point]
                self._annotate(number, polygon, bbox=_around(points), area=_area(points), segmentation=[flat])
        if image["classification_annotation"] is not None:
            size = [image["width"], image["height"]]
            self._annotate(
                number,
                image["classification_annotation"],
                bbox=[0, 0, *size],
                area=size[0] * size[1],
                segmentation=[],
            )
        return file_name

    def document(self, description: str) -> dict[str, Any]:
        """All that was added. `info.left_out` counts annotations of categories that the project does not have."""
        return {
            "info": {"description": description, "left_out": self._left_out},
            "licenses": [],
            "categories": [self._category(category) for category in self._categories],
            "images": self._images,
            "annotations": self._annotations,
        }

    def _category(self, category: Category) -> dict[str, Any]:
        known = category.model_dump(exclude={"id"}, exclude_none=True)
        keypoints = {"keypoints": [category.name], "skeleton": []} if category.type == "point" else {}
        return {"id": self._numbers[category.id], "supercategory": "", **known, **keypoints, "loop_id": category.id}

    def _annotate(self, image: int, annotation: Mapping[str, Any], **geometry: Any) -> None:
        category = self._numbers.get(annotation["category_id"])
        if category is None:
            self._left_out += 1
            return
        number = len(self._annotations) + 1
        self._annotations.append({"id": number, "image_id": image, "category_id": category, "iscrowd": 0, **geometry})

    def _free_name(self, name: str, extension: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "image"
        free, number = f"{plain}.{extension}", 2
        while free.lower() in self._names:
            free, number = f"{plain}_{number}.{extension}", number + 1
        self._names.add(free.lower())
        return free


def _around(points: Sequence[tuple[float, float]]) -> list[float]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _area(points: Sequence[tuple[float, float]]) -> float:
    """Of a polygon, in square pixels: the shoelace formula."""
    following = [*points[1:], points[0]]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, following, strict=True))) / 2
