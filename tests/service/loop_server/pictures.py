"""Small pictures that differ, and the forms in which detectors of every era send them."""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

Parts = list[tuple[str, tuple[str, bytes, str]]]


def jpeg(number: int = 0, width: int = 32, height: int = 24) -> bytes:
    """A grey JPEG; those of different numbers differ."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(buffer, "JPEG", comment=str(number).encode())
    return buffer.getvalue()


def metadata(**given: Any) -> bytes:
    """What upstream's detectors say of a picture where there is nothing to say."""
    document: dict[str, Any] = {
        "box_detections": [],
        "point_detections": [],
        "segmentation_detections": [],
        "classification_detections": [],
        "tags": [],
        "created": "2024-01-01_12:34:56.123",
        "source": None,
    }
    return json.dumps({**document, **given}).encode()


def pair(name: str, picture: bytes, described: bytes) -> Parts:
    """As 0.14 and later send it; aiohttp writes the colons as %3A."""
    quoted = name.replace(":", "%3A")
    return [
        ("files", (f"{quoted}.json", described, "application/json")),
        ("files", (f"{quoted}.jpg", picture, "image/jpeg")),
    ]


def box(name: str, **given: Any) -> dict[str, Any]:
    """A box as a detector reports it."""
    found = {"category_name": name, "x": 1, "y": 2, "width": 10, "height": 12, "model_name": "1.0", "confidence": 0.9}
    return {**found, "category_id": "", **given}
