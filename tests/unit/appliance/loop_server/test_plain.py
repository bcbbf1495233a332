"""What strangers send as JSON can be kept and given back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.loop_server.plain import MAX_DEPTH, plain
from models.errors import DetectorApplianceError, InputTooLarge, InvalidInput

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just("\0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(values)
def test_what_is_taken_can_be_written_and_read_again(value: Any) -> None:
    try:
        kept = plain(value, 10_000, "it")
    except DetectorApplianceError as error:
        assert str(error).startswith("it ")
        return
    text = json.dumps(kept, allow_nan=False)
    assert json.loads(text) == kept
    assert "\\u0000" not in text.replace("\\\\", "")


def test_nul_is_left_out_and_what_looks_like_it_is_kept() -> None:
    assert plain({"a\0": ["b\0c", "d\\u0000e"]}, 100, "it") == {"a": ["bc", "d\\u0000e"]}


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": [float("inf")]}, "\ud800", json.loads("[" * 65 + "]" * 65), {"a": b"bytes"}]
)
def test_what_cannot_be_carried_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="it cannot be kept"):
        plain(value, 10_000, "it")


def test_depth_and_size_are_bounded() -> None:
    assert plain(json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH), 1000, "it")
    assert plain("x" * 98, 100, "it")
    assert plain("ü" * 49, 100, "it")
    with pytest.raises(InputTooLarge, match="it has 101 bytes; at most 100"):
        plain("x" * 99, 100, "it")
    with pytest.raises(InputTooLarge):
        plain("ü" * 50, 100, "it")
