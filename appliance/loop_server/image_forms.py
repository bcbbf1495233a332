"""Pictures and what is said of them, as detectors of every era put them into a form.

    since 0.14   image_<id>.json, image_<id>.jpg, …               paired by their stem; colons in it may come as %3A
    0.13         image.json, image.json, …, image.jpg, …          paired by their position within each kind

Pure: bytes in, pictures with their metadata out. All or nothing: what is wrong with one refuses the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from appliance.loop_server.findings import Annotations
from appliance.loop_server.tables import STATES
from models.errors import ImageUnreadable, InputTooLarge, InvalidInput
from models.images import ImageHeader, ImageLimits, check_picture
from models.wire.image_metadata import ImageMetadata

MAX_NAME = 255
"""Characters that a picture's name may have."""

MAX_METADATA = 4 * 1024 * 1024
"""Bytes that the metadata of one picture may have."""

MAX_TAGS = 1000

DEFAULT_STATE = "inbox"


@dataclass(frozen=True)
class FormFile:
    """One file of the form: what the sender calls it, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Incoming:
    """A picture with all that was said of it. `name` is the stem of its file's name.

    `drawn` are its annotations where they do not stand in the metadata; `id` is the one that it shall have, if it is free.
    """

    name: str
    picture: bytes
    header: ImageHeader
    metadata: ImageMetadata
    drawn: Annotations | None = None
    id: str | None = None

    @property
    def state(self) -> str:
        """Where it is to be filed."""
        return self.metadata.state or DEFAULT_STATE

    @property
    def extras(self) -> dict[str, Any]:
        """What was said beyond the keys of the protocol."""
        return self.metadata.model_extra or {}

    @property
    def annotations(self) -> Annotations:
        """What people have drawn."""
        return Annotations.of(self.metadata) if self.drawn is None else self.drawn


def read_form(files: Sequence[FormFile], limits: ImageLimits) -> list[Incoming]:
    """The pictures of a form, in its order. Raises `InvalidInput`, which names the file that is wrong."""
    return [_checked(name, picture, metadata, limits) for name, picture, metadata in pairs(files)]


def pairs(files: Sequence[FormFile]) -> list[tuple[str, bytes, bytes]]:
    """(name, picture, metadata) of each pair. Raises `InvalidInput` for what has no counterpart."""
    described: list[tuple[str, bytes]] = []
    pictures: list[tuple[str, bytes]] = []
    for file in files:
        stem, extension = _split(file.name)
        (described if extension == "json" else pictures).append((stem, file.data))
    if _unique(described) and _unique(pictures):
        metadata = dict(described)
        for stem, _ in pictures:
            if stem not in metadata:
                raise InvalidInput(
                    f"The picture {stem!r} has no {stem}.json beside it; send both, as pairs of one name"
                )
        if unseen := metadata.keys() - dict(pictures).keys():
            stem = min(unseen)
            raise InvalidInput(f"{stem}.json has no picture beside it; send both, as pairs of one name")
        return [(stem, picture, metadata[stem]) for stem, picture in pictures]
    if len(described) != len(pictures):
        raise InvalidInput(
            f"There are {len(pictures)} pictures and {len(described)} JSON files, and their names do not tell which belong "
            "together; send as many of one kind as of the other"
        )
    return [(stem, picture, data) for (stem, picture), (_, data) in zip(pictures, described, strict=True)]


def _unique(files: Sequence[tuple[str, bytes]]) -> bool:
    return len({stem for stem, _ in files}) == len(files)


def _split(name: str) -> tuple[str, str]:
    """Stem and extension, without the folders that a sender may have put in front."""
    plain = unquote(name).replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = plain.rpartition(".")
    if not dot:
        stem, extension = plain, ""
    if not 0 < len(stem) <= MAX_NAME or not stem.isprintable():
        raise InvalidInput(
            f"{plain[:80]!r} cannot be the name of a picture: 1 to {MAX_NAME} printable characters and an extension are due"
        )
    return stem, extension.lower()


def _checked(name: str, picture: bytes, data: bytes, limits: ImageLimits) -> Incoming:
    if len(data) > MAX_METADATA:
        raise InvalidInput(f"{name}.json has {len(data)} bytes; up to {MAX_METADATA} are accepted")
    try:
        header = check_picture(picture, limits)
    except (ImageUnreadable, InputTooLarge) as error:
        # Both alike: whoever sends it again sends it in vain.
        raise ImageUnreadable(f"{name}: {error}") from error
    try:
        metadata = ImageMetadata.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{name}.json: {where + ': ' if where else ''}{first['msg']}") from error
    if metadata.state is not None and metadata.state not in STATES:
        raise InvalidInput(f"{name}.json: the state {metadata.state[:60]!r} is none of {', '.join(STATES)}")
    if len(metadata.tags) > MAX_TAGS:
        raise InvalidInput(f"{name}.json: {len(metadata.tags)} tags; up to {MAX_TAGS} are accepted")
    return Incoming(name, picture, header, metadata)
