"""A folder of pictures in COCO's form, with boxes or with classes: what a recipe learns from.

    FOLDER/images/<file>       JPEG, PNG or WebP
    FOLDER/annotations.json    COCO: images, categories, annotations with bbox [x, y, width, height]

Boxes are pixels of the picture as displayed (EXIF applied). Beside COCO's keys, an image may say its `split` (`train`,
`val` or `test`) and its `loop_id`; a category its `loop_id`, `type` (`box`, `point`, `segmentation`, `classification`),
`point_size` (pixels) and `color`. Where no image says a split, a hash of the file's name puts a fifth into `test`.

The class of a picture as a whole is an annotation whose category is of type `classification`; whether it has a bbox makes no
difference. Who learns classes may leave the types out where no picture has more than one annotation, and may do without
annotations.json where the pictures of each class lie in a folder of their own: FOLDER/<class>/<file>, or
FOLDER/train/<class>/<file> beside FOLDER/val and FOLDER/test.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageUnreadable, InputTooLarge, InvalidInput
from models.image_headers import DEFAULT_LIMITS, read_header
from models.wire.model_information import Category, CategoryType
from trainer_companion import annotated, coco
from trainer_companion.coco import ANNOTATIONS, IMAGES, Split
from trainer_companion.wording import counted, listed

__all__ = [
    "ANNOTATIONS",
    "POINT_SIZE",
    "VALIDATION_SHARE",
    "Dataset",
    "Learns",
    "OfOtherKind",
    "Picture",
    "Split",
    "checked",
    "read",
    "share",
]

TEST_SHARE = 0.2
"""How many of the pictures are held out, where the folder does not say."""

VALIDATION_SHARE = 0.1
"""How many of the pictures for training become `val` where that is asked for: what upstream's trainers take."""

POINT_SIZE = 20
"""Side of the box that stands for a point (pixels), where its category does not say."""

Learns = Literal["things", "pictures"]
"""What is learnt: where the things in a picture are (boxes and points), or which class a picture is as a whole."""

_TRAINED: dict[Learns, tuple[CategoryType, ...]] = {"things": ("box", "point"), "pictures": ("classification",)}


class OfOtherKind(InvalidInput):
    """The folder holds what other recipes learn; `fits` is what those learn."""

    def __init__(self, message: str, fits: Learns) -> None:
        super().__init__(message)
        self.fits = fits


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture. `boxes`: (N, 4) float32 x1, y1, x2, y2 in pixels of the picture, inside it; `classes`: (N,) int64,
    indices into the dataset's categories. A picture that is classified as a whole has no boxes and one class. `width` and
    `height` in pixels, as displayed.
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
    """What a folder holds of what is learnt. `remarks`: what was left out, a sentence each, for the person who made it."""

    categories: tuple[Category, ...]
    pictures: tuple[Picture, ...]
    remarks: tuple[str, ...] = ()
    learns: Learns = "things"

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


def read(folder: Path, *, learns: Learns = "things", compute_validation_set: bool = False) -> Dataset:
    """The dataset in `folder`; no picture is decoded yet. Blocks.

    `compute_validation_set`: a tenth of the pictures for training become `val`, by the hash of their `loop_id` (or name).
    Raises `InvalidInput` where there is nothing to learn from, with what is missing; `OfOtherKind` where other recipes
    would find something.
    """
    root, document = _document(folder, learns)
    remarks: list[str] = []
    kinds = _kinds(document.categories, learns)
    categories, class_of = _categories(document.categories, kinds, learns, remarks)
    pictures, index_of = _pictures(root, document.images, remarks)
    if learns == "things":
        sizes = [(picture.width, picture.height) for picture in pictures]
        boxes = annotated.things(sizes, index_of, document.annotations, class_of, categories, remarks)
        pictures = [_with(picture, marked) for picture, marked in zip(pictures, boxes, strict=True)]
    else:
        if all(category.type is None for category in document.categories):
            _require_one_each(annotated.several(index_of, document.annotations))
        classes = annotated.whole(len(pictures), index_of, document.annotations, class_of, remarks)
        found = [
            _with(picture, marked) for picture, marked in zip(pictures, classes, strict=True) if marked is not None
        ]
        if not found:
            raise InvalidInput(f"None of the {len(pictures)} pictures has a class; say of some which class they are.")
        pictures = found
    pictures = _split(pictures, document.images, remarks)
    if compute_validation_set:
        pictures = [
            replace(picture, split="val")
            if picture.split == "train" and share(picture.loop_id or picture.name) < VALIDATION_SHARE
            else picture
            for picture in pictures
        ]
    return checked(Dataset(categories, tuple(pictures), tuple(remarks), learns))


def checked(dataset: Dataset) -> Dataset:
    """The same, if something can be learnt from it. Raises `InvalidInput`."""
    training = dataset.of("train")
    seen = sorted({int(kind) for picture in training for kind in picture.classes})
    if dataset.learns == "things" and not seen:
        raise InvalidInput(
            f"None of the {len(training)} pictures for training has a box of a category that is trained; "
            "annotate some of them first."
        )
    if dataset.learns == "pictures" and len(seen) < 2:
        name = repr(dataset.categories[seen[0]].name) if seen else "no class"
        raise InvalidInput(
            f"All of the {len(training)} pictures for training are of {name}; "
            "a class is learnt beside others only: add pictures of another one."
        )
    return dataset


# ── parts of reading ────────────────────────────────────────────────────────────────────────────────────────────────


def _document(folder: Path, learns: Learns) -> tuple[Path, coco.Document]:
    """Where the pictures are, and what is said of them."""
    if (folder / ANNOTATIONS).exists():
        return folder / IMAGES, coco.document(folder)
    found = coco.by_folders(folder)
    if learns == "pictures":
        if found is not None:
            return folder, found
        raise InvalidInput(
            f"There is neither {ANNOTATIONS} in {folder}, nor a folder of pictures for each class; "
            "one of these says which class a picture is."
        )
    if found is not None:
        raise OfOtherKind(f"There is no {ANNOTATIONS} with boxes in {folder}, only pictures in folders.", "pictures")
    return folder / IMAGES, coco.document(folder)


def _kinds(found: Sequence[coco.Category], learns: Learns) -> list[CategoryType]:
    """The type of each category; where no category of the folder says one, the one that is learnt."""
    typed = any(category.type is not None for category in found)
    usual: CategoryType = "box" if typed or learns == "things" else "classification"
    return [category.type or usual for category in found]


def _categories(
    found: Sequence[coco.Category], kinds: Sequence[CategoryType], learns: Learns, remarks: list[str]
) -> tuple[tuple[Category, ...], dict[int, int]]:
    """The categories that are trained, and COCO's id -> index among them."""
    trained = [(category, kind) for category, kind in zip(found, kinds, strict=True) if kind in _TRAINED[learns]]
    left_out = [category.name for category, kind in zip(found, kinds, strict=True) if kind not in _TRAINED[learns]]
    if not trained:
        missing = f"There is no category of type {' or '.join(_TRAINED[learns])} in the dataset"
        other: Learns = "pictures" if learns == "things" else "things"
        if any(kind in _TRAINED[other] for kind in kinds):
            raise OfOtherKind(f"{missing}, which is all that this variant learns.", other)
        raise InvalidInput(f"{missing}; nothing can be learnt from it.")
    if left_out:
        what = "Boxes and points" if learns == "things" else "Classes of whole pictures"
        remarks.append(f"{what} are trained; categories of other types are left out: {listed(left_out)}.")
    if len({category.id for category in found}) != len(found):
        raise InvalidInput("Two categories of the dataset have the same id; their annotations cannot be told apart.")
    keys = Counter(category.loop_id or category.name for category, _ in trained)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise InvalidInput(f"Two categories are called {twice[0]!r}; give them different names.")
    made = tuple(
        Category(
            id=category.loop_id or category.name,
            name=category.name,
            type=kind,
            color=category.color,
            point_size=(category.point_size or POINT_SIZE) if kind == "point" else category.point_size,
        )
        for category, kind in trained
    )
    return made, {category.id: index for index, (category, _) in enumerate(trained)}


def _require_one_each(several: int) -> None:
    """Where categories say no types, an annotation is a picture's class only if there is no other one."""
    if several:
        raise OfOtherKind(
            f"No category of the dataset says a type, and {counted(several, 'picture')} of it "
            f"{'has' if several == 1 else 'have'} several annotations; which class a picture is as a whole would be said by a "
            "single one, or by categories of type classification.",
            "things",
        )


def _with(picture: Picture, marked: annotated.Marked) -> Picture:
    boxes, classes = marked
    return replace(picture, boxes=boxes, classes=classes)


def _pictures(
    folder: Path, found: Sequence[coco.Image], remarks: list[str]
) -> tuple[list[Picture], dict[int | str, int]]:
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
        remarks.append(f"Left out, because the file cannot be read: {counted(len(lost), 'picture')} ({listed(lost)}).")
    if not pictures:
        raise InvalidInput(f"There are no pictures in {folder} that {ANNOTATIONS} names; nothing can be learnt.")
    return pictures, index_of


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name if it lies in `folder`: names come from whoever wrote the file."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        return None
    return folder / parts


def _size(path: Path, image: coco.Image) -> tuple[int, int] | None:
    """Width and height as displayed, from the JSON or else from the file; None where there is no such picture."""
    try:
        if image.width is not None and image.height is not None:
            return (image.width, image.height) if path.is_file() else None
        header = read_header(path.read_bytes(), DEFAULT_LIMITS)
    except (OSError, ImageUnreadable, InputTooLarge):
        return None
    return header.width, header.height


def _split(pictures: list[Picture], images: Sequence[coco.Image], remarks: list[str]) -> list[Picture]:
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
