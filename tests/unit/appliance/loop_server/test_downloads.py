"""Which part of a file is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.loop_server.downloads import Span, Unsatisfiable, wanted

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, None),
        ("bytes=0-", Span(0, 100)),
        ("bytes=40-", Span(40, 100)),
        ("bytes=40-49", Span(40, 50)),
        ("bytes=40-40", Span(40, 41)),
        ("bytes=40-400", Span(40, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-400", Span(0, 100)),
        ("Bytes=40-49", Span(40, 50)),
        ("bytes= 40 - 49 ", Span(40, 50)),
        ("bytes=100-", Unsatisfiable()),
        ("bytes=500-600", Unsatisfiable()),
        ("bytes=-0", Unsatisfiable()),
        pytest.param("bytes=49-40", None, id="backwards: no range"),
        pytest.param("bytes=-", None, id="nothing: no range"),
        pytest.param("bytes=0-1,5-6", None, id="several: all may be answered"),
        pytest.param("items=0-1", None, id="another unit"),
        pytest.param("bytes=a-b", None, id="no numbers"),
        pytest.param(f"bytes={'9' * 30}-", None, id="a number without end"),
        pytest.param("bytes=٣-", None, id="digits of another script"),
    ],
)
def test_ranges(asked: str | None, expected: Span | Unsatisfiable | None) -> None:
    assert wanted(asked, None, ETAG, 100) == expected


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [
        (ETAG, Span(40, 100)),
        (f" {ETAG} ", Span(40, 100)),
        ('"other"', None),
        ('W/"abc"', None),
        ("abc", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("", None),
    ],
)
def test_a_range_counts_only_if_nothing_has_changed(if_range: str, expected: Span | None) -> None:
    assert wanted("bytes=40-", if_range, ETAG, 100) == expected


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_of_an_empty_file_no_range_can_be_had(asked: str) -> None:
    assert wanted(asked, None, ETAG, 0) == Unsatisfiable()


@given(st.text(max_size=30) | st.from_regex(r"bytes=\d{0,4}-\d{0,4}", fullmatch=True), st.integers(0, 2000))
def test_a_span_always_lies_within(asked: str, size: int) -> None:
    found = wanted(asked, None, ETAG, size)
    assert not isinstance(found, Span) or 0 <= found.start < found.end <= size
