"""Data folders as learning-loop-node has left them, era by era; the tests against the real library show that they are such."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.small_bundles import make_bundle

JPEG = b"\xff\xd8\xff\xe0 stands for a picture \xff\xd9"

PICKED, ASKED_FOR = "2024-05-06_07:08:09.123456", "2024-05-06_07:08:10.000001"
UUID = "33c5675a-4309-4d56-8b85-d3ae762ab62a"

_DETECTIONS: dict[str, Any] = {
    "box_detections": [
        {
            "category_name": "cat",
            "x": 1,
            "y": 2,
            "width": 30,
            "height": 40,
            "model_name": "1.1",
            "confidence": 0.5,
            "category_id": "a cat's",
        }
    ],
    "point_detections": [],
    "segmentation_detections": [],
    "classification_detections": [],
}
_ANNOTATIONS: dict[str, Any] = {"box_annotations": [], "point_annotations": [], "classification_annotation": None}


def metadata(era: str, *tags: str) -> bytes:
    """What a node of that era writes beside a picture."""
    document = {**_DETECTIONS, **({} if era.startswith("0.13") else _ANNOTATIONS), "tags": list(tags)}
    document |= {"created": "2024-05-06_07:08:09.123456", "source": "front" if era.startswith("0.13") else None}
    return json.dumps(document | ({"state": None} if era == "0.27" else {})).encode()


def write_picture(folder: Path, document: bytes, picture: bytes = JPEG, stem: str | None = None) -> Path:
    """A picture in the new folder of that name."""
    folder.mkdir(parents=True)
    stem = stem or f"image_{folder.name}"
    (folder / f"{stem}.json").write_bytes(document)
    (folder / f"{stem}.jpg").write_bytes(picture)
    return folder


def era_0_13_0(data: Path) -> None:
    """The first of 0.13: the two files have the same names in every folder."""
    write_picture(data / "outbox" / PICKED, metadata("0.13.0", "uncertain"), stem="image")
    write_picture(data / "outbox" / ASKED_FOR, metadata("0.13.0", "picked_by_system"), JPEG + b"2", stem="image")
    _everything_else(data, "model")


def era_0_13(data: Path) -> None:
    """0.13.1 and later: pictures lie in the outbox itself."""
    write_picture(data / "outbox" / PICKED, metadata("0.13", "uncertain"))
    write_picture(data / "outbox" / ASKED_FOR, metadata("0.13", "picked_by_system"), JPEG + b"2")
    _everything_else(data, "model")


def era_0_20(data: Path) -> None:
    """0.14 to 0.25: two queues."""
    write_picture(data / "outbox" / "normal" / PICKED, metadata("0.20", "uncertain"))
    write_picture(data / "outbox" / "priority" / ASKED_FOR, metadata("0.20", "picked_by_system"), JPEG + b"2")
    _everything_else(data, "current_model")


def era_0_27(data: Path) -> None:
    """0.23 and later: pictures have a state."""
    write_picture(data / "outbox" / "normal" / PICKED, metadata("0.27", "uncertain"))
    write_picture(data / "outbox" / "priority" / ASKED_FOR, metadata("0.27", "picked_by_system"), JPEG + b"2")
    _everything_else(data, "current_model")


ERAS: dict[str, Callable[[Path], None]] = {
    "0.13.0": era_0_13_0,
    "0.13": era_0_13,
    "0.20": era_0_20,
    "0.27": era_0_27,
}


def _everything_else(data: Path, link: str) -> None:
    """A picture that was being written, two models of which the second served, and the uuid."""
    write_picture(data / "tmp" / "2024-05-06_07:08:11.000000", b'{"box_det')
    make_bundle(data / "models" / "1.0", "1.0", format="yolov5_wts", inference=None)
    make_bundle(data / "models" / "1.1", "1.1", inference=None)
    (data / link).symlink_to("models/1.1")
    (data / "uuids.json").write_text(json.dumps({"front_robot": UUID}))
