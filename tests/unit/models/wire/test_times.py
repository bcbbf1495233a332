"""Creation dates: every form that a client of any era writes, and nothing else."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.wire.times import checked_date


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31",
        "2024-01-31T12:34",
        "2024-01-31T12:34:56",
        "2024-01-31T12:34:56.789",
        "2024-01-31T12:34:56.789123",
        "2024-01-31T12:34:56Z",
        "2024-01-31T12:34:56+01:00",
        "2024-01-31T12:34:56.789-0530",
        "2024-01-31 12:34:56",
        "2024-01-31_12:34:56.789",
        "2024-02-29_00:00:00.000",
    ],
)
def test_dates_with_and_without_zone_stay_as_they_are(text: str) -> None:
    assert checked_date(text) == text


@pytest.mark.parametrize("text", [None, "", "   "])
def test_no_date_is_none(text: str | None) -> None:
    assert checked_date(text) is None


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2024-13-01", "2024-02-30T00:00:00", "2023-02-29", "2024-01-31T25:00", "1700000000", "31.01.2024",
     "2024-01-31T12:34:56+1", "2024-01-31T12:34:56 and more", "٢٠٢٤-01-31"],
)  # fmt: skip
def test_what_is_no_date_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="should be like 2024-01-31T12:34:56"):
        checked_date(text)


@given(st.text(max_size=80))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    try:
        checked = checked_date(text)
    except InvalidInput:
        return
    assert checked is None or checked[:4].isdecimal()


@given(st.datetimes(), st.sampled_from(["T", "_", " "]), st.sampled_from(["auto", "milliseconds", "minutes"]))
def test_every_date_that_python_writes_is_taken(when: datetime, separator: str, timespec: str) -> None:
    text = when.isoformat(sep=separator, timespec=timespec)
    assert checked_date(text) == text
