"""Why a picture is here, as its tags tell: what makes a promise of it is never overlooked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outbox.reasons import PICKED_BY_SYSTEM, in_words, shown, tags_in, was_asked_for
from models.wire.detections import BoxDetection
from models.wire.image_metadata import ImageMetadata


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([PICKED_BY_SYSTEM], True),
        (["uncertain", PICKED_BY_SYSTEM], True),
        (["uncertain"], False),
        ([], False),
        (None, True),
    ],
)
def test_uploads_and_what_cannot_be_read_are_a_promise(tags: list[str] | None, expected: bool) -> None:
    assert was_asked_for(tags) is expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"tags": ["a", "b"], "created": null}', ["a", "b"]),
        (b'{"tags":[]}', []),
        (b'{"tags" :\n null}', []),
        (b'{"tags": "a, b ,,"}', ["a", "b"]),
        (b"{}", []),
        (b'{"box_detections": []}', []),
        (b"", None),
        (b"{", None),
        (b'{"tags": ["a"', None),
        (b'{"tags": [1]}', None),
        (b'{"tags": {"a": 1}}', None),
        (b'{"tags": ["\xff"]}', None),
        (b'{"other": {"tags": ["inner"]}, "tags": ["outer"]}', ["outer"]),
        (b'{"tags": ["outer"], "other": {"tags": ["picked_by_system"]}}', ["outer"]),
        (b'{"source": "\\"tags\\": []", "tags": ["picked_by_system"]}', ["picked_by_system"]),
        (b"[" * 100_000, None),
        (b'{"tags": ' + b"[" * 100_000, None),
    ],
)
def test_tags_are_found_in_what_is_stored(document: bytes, expected: list[str] | None) -> None:
    assert tags_in(document) == expected


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.text(st.characters(exclude_categories=["Cs"])))
def test_they_are_found_in_whatever_we_write(tags: list[str], name: str) -> None:
    box = BoxDetection(category_name=name, x=1, y=2, width=3, height=4, confidence=0.5)
    metadata = ImageMetadata(box_detections=[box], tags=tags, source=name)
    assert tags_in(metadata.model_dump_json().encode()) == tags
    assert tags_in(json.dumps(metadata.model_dump()).encode()) == tags


def test_what_is_shown_is_short_and_keeps_the_promise() -> None:
    many = [f"tag {number}" for number in range(1000)] + ["x" * 1000, PICKED_BY_SYSTEM]
    some = json.loads(str(shown(many)))
    assert len(some) == 16
    assert was_asked_for(some)
    assert shown(None) is None
    assert shown([]) == "[]"


def test_people_are_told_why() -> None:
    assert in_words([PICKED_BY_SYSTEM]) == ["somebody asked for it (upload)"]
    assert in_words(["wet", "uncertain"]) == ["the model was unsure of something new in it"]
    assert in_words(["wet"]) == ["every picture was wanted (autoupload all)"]
    assert in_words(None) == ["its metadata cannot be read"]
