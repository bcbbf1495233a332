"""Messages as nodes and robots of every era write them: all are understood, and nothing is lost on the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from appliance.events import upload_metadata
from models.wire.detections import ImageDetections
from models.wire.image_metadata import ImageMetadata, SegmentationAnnotation
from models.wire.model_information import ModelInformation
from models.wire.node_status import AboutResponse, ModelVersionResponse
from models.wire.training import AnnotationNodeStatus, TrainingOut, TrainingStatus, UserInput

GOLDEN = Path(__file__).parent / "golden"

MESSAGES: dict[str, type[BaseModel]] = {
    "image_metadata_0.13": ImageMetadata,
    "image_metadata_0.17": ImageMetadata,
    "image_metadata_0.27": ImageMetadata,
    "upload_metadata_rosys_0.37": ImageMetadata,
    "model_information_0.13": ModelInformation,
    "model_information_0.27": ModelInformation,
    "about_0.27": AboutResponse,
    "model_version_0.27": ModelVersionResponse,
    "detections_0.27": ImageDetections,
    "segmentation_annotation_0.27": SegmentationAnnotation,
    "training_status_0.13": TrainingStatus,
    "training_status_0.27": TrainingStatus,
    "training_out_0.27": TrainingOut,
    "annotation_node_status_0.27": AnnotationNodeStatus,
    "user_input_0.27": UserInput,
}


def golden(name: str) -> dict[str, Any]:
    """One message as it was recorded."""
    message: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return message


def contains(whole: Any, part: Any) -> bool:
    """Whether everything in `part` is in `whole`, which may have more keys."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return len(whole) == len(part) and all(contains(a, b) for a, b in zip(whole, part, strict=True))
    return bool(whole == part)


def test_every_golden_message_is_checked() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {*MESSAGES, "upload_0.13"}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_survives_the_round_trip(name: str) -> None:
    message = golden(name)
    back = MESSAGES[name].model_validate(message).model_dump(mode="json")
    assert contains(back, message)


@pytest.mark.parametrize("name", MESSAGES)
def test_unknown_keys_of_a_later_era_are_kept(name: str) -> None:
    message = {**golden(name), "from_the_future": {"a": [1, None]}}
    assert MESSAGES[name].model_validate(message).model_dump(mode="json")["from_the_future"] == {"a": [1, None]}


def test_lists_that_old_clients_send_as_null_are_empty() -> None:
    keys = [key for key, value in golden("image_metadata_0.27").items() if isinstance(value, list)]
    metadata = ImageMetadata.model_validate(dict.fromkeys(keys))
    assert all(getattr(metadata, key) == [] for key in keys)
    assert len(keys) == 7


def test_boxes_that_were_computed_are_whole_pixels() -> None:
    message = golden("image_metadata_0.27")
    message["box_detections"][0] |= {"x": 10.6, "width": 29.5}
    box = ImageMetadata.model_validate(message).box_detections[0]
    assert (box.x, box.width) == (11, 30)


def test_an_upload_of_0_13_says_beside_the_detections_what_0_17_says_in_the_metadata() -> None:
    metadata = upload_metadata(golden("upload_0.13"))
    assert metadata.box_detections[0].category_name == "purple box"
    assert (metadata.tags, metadata.source, metadata.created) == (["uncertain"], "robot", "2024-01-31T12:34:56.789")


def test_an_upload_without_a_date_is_dated_now() -> None:
    created = upload_metadata({"metadata": golden("upload_metadata_rosys_0.37")}).created
    assert created is not None
    assert len(created) == len("2024-01-31_12:34:56.789")
