"""The document of a dataset folder, in COCO's form, and the same for folders that need none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.errors import InputTooLarge, InvalidInput
from models.wire.model_information import CategoryType

ANNOTATIONS = "annotations.json"
IMAGES = "images"

MOST_BYTES = 4 * 1024**3
"""How long `annotations.json` may be."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Of pictures in a folder that does not name them."""

Split = Literal["train", "val", "test"]

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Image(BaseModel):
    """One of `images`; `width` and `height` in pixels, as displayed."""

    model_config = ConfigDict(extra="ignore")

    id: int | str
    file_name: str = Field(min_length=1, max_length=1024)
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    split: Split | None = None
    loop_id: str | None = None


class Category(BaseModel):
    """One of `categories`; COCO's own have no `type`."""

    model_config = ConfigDict(extra="ignore")

    id: int
    name: str
    loop_id: str | None = None
    type: Annotated[CategoryType | None, BeforeValidator(lambda value: value or None)] = None
    point_size: int | None = Field(default=None, gt=0)
    color: str | None = None


class Annotation(BaseModel):
    """One of `annotations`; `bbox` is x, y, width, height in pixels of the picture."""

    model_config = ConfigDict(extra="ignore")

    image_id: int | str
    category_id: int
    bbox: list[float] = Field(default_factory=list)
    iscrowd: int = 0


class Document(BaseModel):
    """What is in `annotations.json`."""

    model_config = ConfigDict(extra="ignore")

    images: list[Image]
    categories: list[Category]
    annotations: list[Annotation] = Field(default_factory=list)


def document(folder: Path) -> Document:
    """The document of a folder. Blocks. Raises `InvalidInput`, `InputTooLarge`."""
    path = folder / ANNOTATIONS
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputTooLarge(f"{path} is longer than {MOST_BYTES // 1024**3} GiB; split the dataset.")
        return Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}); a dataset is a folder with {IMAGES}/ and {ANNOTATIONS}."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidInput(f"{path} is not in COCO's form: {where}: {first['msg']}.") from error


def by_folders(folder: Path) -> Document | None:
    """Pictures in a folder for each class, `FOLDER/<class>/<file>`; where there is a `FOLDER/train`, in one below each of
    `train`, `val` and `test`. Names of files are relative to `folder`. Blocks. None where there are no such pictures.
    """
    images: list[Image] = []
    annotations: list[Annotation] = []
    numbers: dict[str, int] = {}
    for split, path in sorted(_classified(folder), key=lambda each: each[1]):
        number = numbers.setdefault(path.parent.name, len(numbers) + 1)
        images.append(Image(id=len(images) + 1, file_name=path.relative_to(folder).as_posix(), split=split))
        annotations.append(Annotation(image_id=len(images), category_id=number))
    if not images:
        return None
    categories = [Category(id=number, name=name, type="classification") for name, number in numbers.items()]
    return Document(images=images, categories=categories, annotations=annotations)


def _classified(folder: Path) -> Iterator[tuple[Split | None, Path]]:
    # A class may be called "train": it is a split where folders with pictures lie in it.
    is_split = next(_pictures_by_folder(folder / "train"), None) is not None
    splits: tuple[Split | None, ...] = _SPLITS if is_split else (None,)
    for split in splits:
        for path in _pictures_by_folder(folder / (split or "")):
            yield split, path


def _pictures_by_folder(folder: Path) -> Iterator[Path]:
    for path in folder.glob("[!.]*/*"):
        if path.suffix.lower() in SUFFIXES and path.parent.name != IMAGES:
            yield path
