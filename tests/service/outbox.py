"""What lies in a box's outbox, read from the disk as its owner would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.service.box import Box


@dataclass(frozen=True)
class Kept:
    """A picture in the outbox."""

    queue: str
    id: str
    picture: bytes
    metadata: dict[str, Any]


def pictures_in(box: Box) -> list[Kept]:
    """All pictures in the outbox, in the order in which they came."""
    found = []
    for queue in ("priority", "normal"):
        for folder in (box.data / "outbox" / queue).iterdir():
            if folder.name.startswith("."):
                continue
            picture, description = folder / f"image_{folder.name}.jpg", folder / f"image_{folder.name}.json"
            found.append(Kept(queue, folder.name, picture.read_bytes(), json.loads(description.read_bytes())))
    return sorted(found, key=lambda kept: kept.id)


def wait_for_pictures(box: Box, count: int) -> list[Kept]:
    """All pictures in the outbox as soon as there are `count`: automatic picks arrive within a second."""
    box.wait_until(lambda: len(pictures_in(box)) >= count, seconds=10)
    return pictures_in(box)
