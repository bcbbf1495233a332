"""A folder of pictures with boxes, in COCO's form: what a recipe learns from.

    FOLDER/images/<file>       JPEG, PNG or WebP
    FOLDER/annotations.json    COCO: images, categories, annotations with bbox [x, y, width, height]

Boxes are pixels of the picture as displayed (EXIF applied). Beside COCO's keys, an image may say its `split` (`train`,
`val` or `test`) and its `loop_id`; a category its `loop_id`, `type` (`box`, `point`, `segmentation`, `classification`),
`point_size` (pixels) and `color`. Where no image says a split, a hash of the file's name puts a fifth into `test`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.errors import ImageUnreadable, InputTooLarge, InvalidInput
from models.image_headers import DEFAULT_LIMITS, read_header
from models.wire.model_information import Category, CategoryType

ANNOTATIONS = "annotations.json"
IMAGES = "images"

MOST_BYTES = 4 * 1024**3
"""How long `annotations.json` may be."""

TEST_SHARE = 0.2
"""How many of the pictures are held out, where the folder does not say."""

VALIDATION_SHARE = 0.1
"""How many of the pictures for training become `val` where that is asked for: what upstream's trainers take."""

POINT_SIZE = 20
"""Side of the box that stands for a point (pixels), where its category does not say."""

SMALLEST = 1.0
"""Pixels; a box with a shorter side shows nothing."""

Split = Literal["train", "val", "test"]

_TRAINED = ("box", "point")


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: int | str
    file_name: str = Field(min_length=1, max_length=1024)
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    split: Split | None = None
    loop_id: str | None = None


class _Category(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: int
    name: str
    loop_id: str | None = None
    type: Annotated[CategoryType, BeforeValidator(lambda value: value or "box")] = "box"
    point_size: int | None = Field(default=None, gt=0)
    color: str | None = None


class _Annotation(BaseModel):
    model_config = ConfigDict(extra="ignore")

    image_id: int | str
    category_id: int
    bbox: list[float] = Field(default_factory=list)
    iscrowd: int = 0


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore")

    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = Field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture. `boxes`: (N, 4) float32 x1, y1, x2, y2 in pixels of the picture, inside it; `classes`: (N,) int64,
    indices into the dataset's categories. `width` and `height` in pixels, as displayed.
    """

    path: Path
    name: str
    width: int
    height: int
    split: Split
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    loop_id: str | None = None


@dataclass(frozen=True)
class Dataset:
    """What a folder holds. `remarks`: what was left out, a sentence each, for the person who made the folder."""

    categories: tuple[Category, ...]
    pictures: tuple[Picture, ...]
    remarks: tuple[str, ...] = ()

    def of(self, split: Split) -> tuple[Picture, ...]:
        """The pictures of one split."""
        return tuple(picture for picture in self.pictures if picture.split == split)

    @property
    def held_out(self) -> tuple[Picture, ...]:
        """The pictures by which the best model is chosen: those of `val`, else those of `test`."""
        return self.of("val") or self.of("test")

    @property
    def keys(self) -> tuple[str, ...]:
        """What a category is called in reports: its id, which is its name where the folder gave no other."""
        return tuple(category.id for category in self.categories)


def share(identifier: str) -> float:
    """A number in 0..1 that is always the same for the same name, spread evenly over names.

    The first 8 hex digits of its SHA-256, as upstream's trainers choose their validation set.
    """
    return int(hashlib.sha256(identifier.encode()).hexdigest()[:8], 16) / 16**8


def read(folder: Path, *, compute_validation_set: bool = False) -> Dataset:
    """The dataset in `folder`; no picture is decoded yet. Blocks.

    `compute_validation_set`: a tenth of the pictures for training become `val`, by the hash of their `loop_id` (or name).
    Raises `InvalidInput` where there is nothing to learn from, with what is missing.
    """
    document = _document(folder / ANNOTATIONS)
    remarks: list[str] = []
    categories, class_of = _categories(document.categories, remarks)
    pictures, file_of = _pictures(folder / IMAGES, document.images, remarks)
    pictures = _with_boxes(pictures, file_of, document.annotations, class_of, categories, remarks)
    pictures = _split(pictures, document.images, remarks)
    if compute_validation_set:
        pictures = [
            replace(picture, split="val")
            if picture.split == "train" and share(picture.loop_id or picture.name) < VALIDATION_SHARE
            else picture
            for picture in pictures
        ]
    return checked(Dataset(categories, tuple(pictures), tuple(remarks)))


def checked(dataset: Dataset) -> Dataset:
    """The same, if something can be learnt from it. Raises `InvalidInput`."""
    training = dataset.of("train")
    if not any(len(picture.boxes) for picture in training):
        raise InvalidInput(
            f"None of the {len(training)} pictures for training has a box of a category that is trained; "
            "annotate some of them first."
        )
    return dataset


# ── parts of reading ────────────────────────────────────────────────────────────────────────────────────────────────


def _document(path: Path) -> _Document:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputTooLarge(f"{path} is longer than {MOST_BYTES // 1024**3} GiB; split the dataset.")
        return _Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}); a dataset is a folder with {IMAGES}/ and {ANNOTATIONS}."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidInput(f"{path} is not in COCO's form: {where}: {first['msg']}.") from error


def _categories(found: Sequence[_Category], remarks: list[str]) -> tuple[tuple[Category, ...], dict[int, int]]:
    """The categories that are trained, and COCO's id -> index among them."""
    trained = [category for category in found if category.type in _TRAINED]
    if left_out := [category.name for category in found if category.type not in _TRAINED]:
        remarks.append(f"Boxes and points are trained; categories of other types are left out: {_listed(left_out)}.")
    if not trained:
        raise InvalidInput("There is no category of type box or point in the dataset; nothing can be learnt from it.")
    if len({category.id for category in found}) != len(found):
        raise InvalidInput("Two categories of the dataset have the same id; their annotations cannot be told apart.")
    keys = Counter(category.loop_id or category.name for category in trained)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise InvalidInput(f"Two categories are called {twice[0]!r}; give them different names.")
    made = tuple(
        Category(
            id=category.loop_id or category.name,
            name=category.name,
            type=category.type,
            color=category.color,
            point_size=(category.point_size or POINT_SIZE) if category.type == "point" else category.point_size,
        )
        for category in trained
    )
    return made, {category.id: index for index, category in enumerate(trained)}


def _pictures(folder: Path, found: Sequence[_Image], remarks: list[str]) -> tuple[list[Picture], dict[int | str, int]]:
    """The pictures whose files are there, without boxes yet, and COCO's id -> index among them."""
    pictures: list[Picture] = []
    index_of: dict[int | str, int] = {}
    lost: list[str] = []
    for image in found:
        if image.id in index_of:
            raise InvalidInput(f"Two images of the dataset have the id {image.id}; ids must differ.")
        path = _inside(folder, image.file_name)
        size = _size(path, image) if path is not None else None
        if path is None or size is None:
            lost.append(image.file_name)
            continue
        index_of[image.id] = len(pictures)
        none = np.empty((0, 4), np.float32)
        split = image.split or "train"
        pictures.append(Picture(path, image.file_name, *size, split, none, np.empty(0, np.int64), image.loop_id))
    if lost:
        remarks.append(
            f"Left out, because the file cannot be read: {_counted(len(lost), 'picture')} ({_listed(lost)})."
        )
    if not pictures:
        raise InvalidInput(f"There are no pictures in {folder} that {ANNOTATIONS} names; nothing can be learnt.")
    return pictures, index_of


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name if it lies in `folder`: names come from whoever wrote the file."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        return None
    return folder / parts


def _size(path: Path, image: _Image) -> tuple[int, int] | None:
    """Width and height as displayed, from the JSON or else from the file; None where there is no such picture."""
    try:
        if image.width is not None and image.height is not None:
            return (image.width, image.height) if path.is_file() else None
        header = read_header(path.read_bytes(), DEFAULT_LIMITS)
    except (OSError, ImageUnreadable, InputTooLarge):
        return None
    return header.width, header.height


def _with_boxes(
    pictures: list[Picture],
    index_of: Mapping[int | str, int],
    annotations: Iterable[_Annotation],
    class_of: Mapping[int, int],
    categories: Sequence[Category],
    remarks: list[str],
) -> list[Picture]:
    boxes: list[list[tuple[float, float, float, float]]] = [[] for _ in pictures]
    classes: list[list[int]] = [[] for _ in pictures]
    clipped = dropped = crowds = 0
    for annotation in annotations:
        index, class_index = index_of.get(annotation.image_id), class_of.get(annotation.category_id)
        if index is None or class_index is None:
            continue
        if annotation.iscrowd:
            crowds += 1
            continue
        category, picture = categories[class_index], pictures[index]
        corners = _corners(annotation.bbox, category.point_size if category.type == "point" else None)
        inside = None if corners is None else _clipped(corners, picture.width, picture.height)
        if inside is None:
            dropped += 1
            continue
        clipped += inside != corners and category.type != "point"
        boxes[index].append(inside)
        classes[index].append(class_index)
    if clipped:
        remarks.append(f"Cut off at the edge of the picture: {_counted(clipped, 'box', 'boxes')}.")
    if dropped:
        remarks.append(f"Left out, because empty or outside of the picture: {_counted(dropped, 'box', 'boxes')}.")
    if crowds:
        remarks.append(f"Left out, because they mean a crowd (iscrowd): {_counted(crowds, 'box', 'boxes')}.")
    return [
        replace(
            picture,
            boxes=np.asarray(boxes[index], np.float32).reshape(-1, 4),
            classes=np.asarray(classes[index], np.int64),
        )
        for index, picture in enumerate(pictures)
    ]


def _corners(bbox: Sequence[float], point_size: int | None) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2; for a point, of the box that stands for it. None for what is no box."""
    if len(bbox) != 4 or not np.isfinite(bbox).all():
        return None
    x, y, width, height = bbox
    if point_size is not None:
        half = point_size / 2
        x, y = x + width / 2, y + height / 2
        return x - half, y - half, x + half, y + half
    return x, y, x + width, y + height


def _clipped(
    corners: tuple[float, float, float, float], width: int, height: int
) -> tuple[float, float, float, float] | None:
    x1, y1, x2, y2 = corners
    x1, x2 = max(x1, 0.0), min(x2, float(width))
    y1, y2 = max(y1, 0.0), min(y2, float(height))
    return (x1, y1, x2, y2) if x2 - x1 >= SMALLEST and y2 - y1 >= SMALLEST else None


def _split(pictures: list[Picture], images: Sequence[_Image], remarks: list[str]) -> list[Picture]:
    """Make sure that there are pictures to learn from and others to be judged by."""
    said = any(image.split is not None for image in images)
    if said and any(picture.split != "train" for picture in pictures):
        return pictures
    if said:
        remarks.append("The dataset holds no picture of the splits test and val; a fifth of the others is held out.")
    held_out = {picture.name for picture in pictures if share(picture.name) < TEST_SHARE}
    if len(pictures) == 1:
        remarks.append("There is a single picture: the model is judged by what it has learnt from.")
        return [*pictures, replace(pictures[0], split="test")]
    if not held_out or len(held_out) == len(pictures):
        held_out = {min(pictures, key=lambda picture: share(picture.name)).name}
    return [replace(picture, split="test" if picture.name in held_out else "train") for picture in pictures]


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
