"""What the pages need of the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Found:
    """One thing in a picture: box as left, top, width, height in pixels, None for a statement about the whole picture."""

    name: str
    confidence: float
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Sight:
    """A picture that was looked at: a JPEG to show, the size in pixels that boxes refer to, and what is in it."""

    jpeg: bytes
    width: int
    height: int
    found: list[Found]
    milliseconds: float


@dataclass(frozen=True)
class Condition:
    """How the box is, in one sentence, and what is wrong, if anything is."""

    sentence: str
    trouble: str | None


class Box(Protocol):
    """The box as the pages see it."""

    def condition(self) -> Condition: ...

    async def look(self, picture: bytes) -> Sight:
        """Detect in a picture. Raises `models.errors.DetectorApplianceError`, whose message can be shown."""
