"""What robots send, taken apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.events import MAX_BATCH, MAX_TEXT, BoundedPacket, picture_of, upload_metadata
from models.errors import DetectorApplianceError, InputTooLarge, InvalidInput
from models.wire.image_metadata import ImageMetadata

RAW = {"bytes": b"abc", "dtype": "uint8", "shape": [1, 1, 3]}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
"""Whatever JSON and binary data can hold."""


@pytest.mark.parametrize("image", [b"jpeg", bytearray(b"jpeg"), {"format": "jpeg", "bytes": b"jpeg"}])
def test_encoded_pictures(image: Any) -> None:
    picture = picture_of(image)

    assert (picture.payload, picture.raw) == (b"jpeg", None)


@pytest.mark.parametrize("more", [{}, {"format": "raw"}, {"format": None}, {"format": ""}, {"mood": "fine"}])
def test_arrays(more: dict[str, Any]) -> None:
    picture = picture_of({**RAW, **more})

    assert (picture.payload, picture.raw) == (b"abc", {"dtype": "uint8", "shape": [1, 1, 3]})


@given(anything)
def test_what_is_no_picture_is_refused_with_a_sentence(image: Any) -> None:
    try:
        picture = picture_of(image)
    except InvalidInput as error:
        assert 10 < len(str(error)) < 300
    else:
        assert isinstance(picture.payload, bytes)


IMAGE_KEYS = st.fixed_dictionaries({}, optional=dict.fromkeys(("bytes", "dtype", "shape", "format"), anything))


@given(IMAGE_KEYS)
def test_a_picture_with_the_right_keys_and_anything_in_them_does_no_worse(image: dict[str, Any]) -> None:
    try:
        picture_of({**RAW, **image})
    except InvalidInput as error:
        assert str(error)


def test_metadata_of_0_17() -> None:
    metadata = upload_metadata({"metadata": {"tags": ["a"], "source": "b", "created": "2024-01-31"}, "tags": ["c"]})

    assert (metadata.tags, metadata.source, metadata.created) == (["a"], "b", "2024-01-31")


def test_metadata_of_0_13_is_spread_over_the_event() -> None:
    found = {"category_name": "cat", "x": 1, "y": 2, "width": 3, "height": 4}
    metadata = upload_metadata(
        {
            "detections": {"box_detections": [found], "segmentation_detections": None, "created": "2000-01-01"},
            "tags": "a, b",
            "source": "c",
            "creation_date": "2024-01-31",
        }
    )

    assert metadata.box_detections[0].category_name == "cat"
    assert (metadata.tags, metadata.source, metadata.created) == (["a", "b"], "c", "2024-01-31")


def test_a_picture_without_a_date_was_made_now() -> None:
    assert upload_metadata({}).created
    assert upload_metadata({"metadata": {"created": None}}).created


KEYS = ("metadata", "detections", "tags", "source", "creation_date")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, anything)))
def test_metadata_is_understood_or_refused_with_a_sentence(payload: dict[str, Any]) -> None:
    try:
        metadata = upload_metadata(payload)
    except InvalidInput as error:
        assert 10 < len(str(error)) < 500
    else:
        assert isinstance(metadata, ImageMetadata)
        assert metadata.created


def packet(text: str, *attachments: bytes | str) -> BoundedPacket:
    """A packet with what came after it."""
    made = BoundedPacket(encoded_packet=text)
    complete = [made.add_attachment(attachment) for attachment in attachments]
    assert complete == [False] * (len(attachments) - 1) + [True]
    return made


def test_a_packet_is_put_together_when_its_last_picture_came() -> None:
    text = '52-7["batch_detect",{"images":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]}]'

    assert packet(text, b"zero", b"one").data == ["batch_detect", {"images": [b"one", b"zero"]}]


@pytest.mark.parametrize("number", ["2", "-3", '"0"', "null", "[0]", "0.5"])
def test_a_packet_that_speaks_of_what_did_not_come_carries_the_reason(number: str) -> None:
    made = packet('51-["detect",{"image":{"_placeholder":true,"num":' + number + "}}]", b"x")

    assert made.data[0] == "detect"
    assert isinstance(made.data[1], InvalidInput)


def test_a_packet_with_more_pictures_than_a_batch_may_have_carries_the_reason_and_keeps_none() -> None:
    made = packet(f'5{MAX_BATCH + 1}-["detect",{{}}]', *([b"x"] * (MAX_BATCH + 1)))

    assert isinstance(made.data[1], InputTooLarge)
    assert made.attachments == []


@given(st.binary(max_size=60) | st.text(max_size=60), st.lists(st.binary(max_size=5), max_size=3))
def test_a_packet_that_is_none_is_a_value_error_or_dispatched(text: bytes | str, attachments: list[bytes]) -> None:
    """What python-socketio catches and logs; the connection stays."""
    try:
        made = BoundedPacket(encoded_packet=text)
        for attachment in attachments:
            made.add_attachment(attachment)
    except (ValueError, TypeError, IndexError, RecursionError, AttributeError) as error:
        assert not isinstance(error, DetectorApplianceError)


def test_an_event_with_too_much_text_is_not_parsed_and_carries_the_reason() -> None:
    long = "[" + "1," * (MAX_TEXT // 2) + "1]"

    made = BoundedPacket(encoded_packet=f'217["upload",{long}]')
    assert (made.id, made.data[0]) == (17, "upload")
    assert isinstance(made.data[1], InputTooLarge)

    made = packet(f'52-17["upload",{long}]', b"a", b"b")
    assert (made.id, made.data[0]) == (17, "upload")
    assert isinstance(made.data[1], InputTooLarge)

    for nonsense in ("2" + "[" * MAX_TEXT * 2, "4" + long, '2["' + "x" * MAX_TEXT):
        with pytest.raises(ValueError, match="characters"):
            BoundedPacket(encoded_packet=nonsense)


def test_numbers_come_through_as_json_of_python_has_them() -> None:
    made = BoundedPacket(encoded_packet='2["detect",[NaN,Infinity,36893488147419103232]]')

    assert str(made.data[1]) == "[nan, inf, 36893488147419103232]"
