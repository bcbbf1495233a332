"""The wire under fire: whatever a client sends as metadata or picture is understood or refused, never worse."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.api.detect import checked_autoupload, utf8
from appliance.api.upload import checked_bool
from appliance.events import picture_of, upload_metadata
from models.errors import InvalidInput

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
METADATA_KEYS = st.sampled_from(
    ["box_detections", "point_detections", "segmentation_detections", "classification_detections", "tags", "source",
     "created", "state", "box_annotations", "point_annotations", "classification_annotation"]
)  # fmt: skip
UPLOAD_KEYS = st.sampled_from(["metadata", "detections", "tags", "source", "creation_date"])
IMAGE_KEYS = st.sampled_from(["bytes", "dtype", "shape", "format"])


@settings(max_examples=300)
@given(st.dictionaries(UPLOAD_KEYS, VALUES | st.dictionaries(METADATA_KEYS, VALUES, max_size=5), max_size=5))
def test_upload_metadata(payload: dict[str, Any]) -> None:
    try:
        upload_metadata(payload)
    except InvalidInput as error:
        assert str(error)


@settings(max_examples=300)
@given(VALUES | st.dictionaries(IMAGE_KEYS, VALUES, max_size=4))
def test_pictures(image: Any) -> None:
    try:
        picture = picture_of(image)
    except InvalidInput as error:
        assert str(error)
        return
    assert isinstance(picture.payload, bytes)


@given(VALUES)
def test_small_values(value: Any) -> None:
    for check in (checked_autoupload, lambda each: checked_bool("upload_priority", each)):
        try:
            check(value)
        except InvalidInput as error:
            assert str(error)


@given(st.binary(max_size=40))
def test_headers_are_utf8_or_refused(header: bytes) -> None:
    try:
        text = utf8("tags", header.decode("latin-1"))
    except InvalidInput as error:
        assert "UTF-8" in str(error)
        return
    assert (text or "").encode() == header
