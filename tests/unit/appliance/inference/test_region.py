"""Pictures in memory that two processes share."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.inference.region import PLACE, Region


@pytest.fixture
def region() -> Iterator[Region]:
    """Two places."""
    made = Region(2)
    yield made
    made.close()


def test_the_other_side_reads_what_was_written(region: Region) -> None:
    with mmap.mmap(region.file, 0, prot=mmap.PROT_READ) as theirs:
        first, second = region.write(b"first picture"), region.write(memoryview(b"second"))
        assert first is not None
        assert second is not None
        assert theirs[first : first + 13] == b"first picture"
        assert theirs[second : second + 6] == b"second"


def test_a_picture_is_not_overwritten_until_it_is_free(region: Region) -> None:
    first, second = region.write(b"a"), region.write(b"b")
    assert first != second
    assert region.write(b"c") is None, "both places are taken"
    assert first is not None
    region.free(first)
    assert region.write(b"c") == first


def test_a_large_picture_goes_another_way(region: Region) -> None:
    assert region.write(bytes(PLACE)) is not None
    assert region.write(bytes(PLACE + 1)) is None


def test_nothing_is_put_into_memory_that_was_given_back() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    region = Region(2)
    region.close()
    assert region.write(b"late") is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
