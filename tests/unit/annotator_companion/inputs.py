"""What a page sends, and a tool that tells what it was given."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from annotator_companion.tools.base import Action, Dot, Picture, Region, Sketch
from models.wire.training import AnnotationData

IMAGE = "10f7d7d2-4076-7006-af37-fa28a6a848ae"
CATEGORY = {"id": "c1", "name": "hole", "type": "segmentation", "color": "#ff8800"}


def given(event_type: str, x: int = 5, y: int = 6, **more: Any) -> dict[str, Any]:
    """As JSON of the wire."""
    return {
        "coordinate": {"x": x, "y": y},
        "event_type": event_type,
        "context": {"organization": "workshop", "project": "parts"},
        "image_uuid": IMAGE,
        "category": CATEGORY,
        **more,
    }


def data(event_type: str, x: int = 5, y: int = 6, **more: Any) -> AnnotationData:
    """As it is parsed."""
    return AnnotationData.model_validate(given(event_type, x, y, **more))


def key(name: str) -> AnnotationData:
    """A key that was let go."""
    return data("key_up", 0, 0, key_up=name)


class Noting:
    """A tool whose overlay is a dot at each action; it stores a square when a button goes up.

    While `gate` is not set it holds up whoever asks; `raises` is what it raises instead of an answer.
    """

    name = "noting"

    def __init__(self, name: str = "noting") -> None:
        self.name = name
        self.gate = threading.Event()
        self.gate.set()
        self.raises: Exception | None = None
        self.actions: list[Action] = []
        self.begun: list[Picture] = []
        self.at_once = 0
        self.most_at_once = 0

    def begin(self, picture: Picture) -> _Drawing:
        self.begun.append(picture)
        return _Drawing(self)


class _Drawing:
    def __init__(self, tool: Noting) -> None:
        self._tool = tool
        self._dots: list[Dot] = []

    def handle(self, action: Action) -> Sketch | None:
        tool = self._tool
        tool.at_once += 1
        tool.most_at_once = max(tool.most_at_once, tool.at_once)
        try:
            gate = tool.gate
            assert gate.wait(30)
            tool.actions.append(action)
            if tool.raises is not None:
                raise tool.raises
        finally:
            tool.at_once -= 1
        if action.key == "Delete" and self._dots:
            return None
        self._dots.append(Dot(action.at))
        square = Region(0, 0, 4, 4, np.ones((4, 4), np.uint8)) if action.kind == "up" else None
        return Sketch(tuple(self._dots), square, is_stored=square is not None, is_finished=action.key == "Enter")
