"""Which models go to make room: never one that is needed, that somebody chose, or that cannot be had again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.versions.pruning import removable, to_prune
from appliance.versions.reference import ModelReference
from appliance.versions.state import DownloadedModel, VersionState
from models.store import StoredModel

VERSIONS = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]


def model(version: str, size: int = 10, read_only: bool = False) -> StoredModel:
    return StoredModel("acme", "kitchens", "litert", version, f"id-{version}", Path(f"/m/{version}"), read_only, size)


def state(
    *downloads: str, current: str = "1.5", last_good: str = "1.4", of_people: tuple[str, ...] = ()
) -> VersionState:
    def reference(version: str) -> ModelReference:
        return ModelReference.of(model(version))

    return VersionState(
        current=reference(current),
        last_good=reference(last_good),
        of_people=tuple(map(reference, of_people)),
        downloads=tuple(
            DownloadedModel(reference=reference(version), model_id=f"id-{version}", zip_sha256="z")
            for version in downloads
        ),
    )


MODELS = [model(version) for version in VERSIONS]


@pytest.mark.parametrize(
    ("label", "of", "arguments", "expected"),
    [
        ("all that is asked to be kept is there", state(*VERSIONS), {"keep": 4, "max_bytes": 1000}, []),
        ("the oldest beyond", state(*VERSIONS), {"keep": 2, "max_bytes": 1000}, ["1.0", "1.1"]),
        ("none beside those in use", state(*VERSIONS), {"keep": 0, "max_bytes": 1000}, ["1.0", "1.1", "1.2", "1.3"]),
        ("by use, not by number", state("1.3", "1.0", "1.2", "1.1"), {"keep": 2, "max_bytes": 1000}, ["1.3", "1.0"]),
        ("what somebody brought stays", state("1.2"), {"keep": 0, "max_bytes": 0}, ["1.2"]),
        ("what somebody chose stays", state(*VERSIONS, of_people=("1.0",)), {"keep": 2, "max_bytes": 1000}, ["1.1"]),
        ("what is wanted stays", state(*VERSIONS), {"keep": 2, "max_bytes": 1000, "wanted": {"id-1.0"}}, ["1.1"]),
        ("too large together", state(*VERSIONS), {"keep": 9, "max_bytes": 45}, ["1.0", "1.1"]),
        ("room for what comes", state(*VERSIONS), {"keep": 9, "max_bytes": 60, "incoming": 15}, ["1.0", "1.1"]),
        ("no more than there is", state(*VERSIONS), {"keep": 9, "max_bytes": 1}, ["1.0", "1.1", "1.2", "1.3"]),
        ("not on disk any more", state("0.9", *VERSIONS), {"keep": 3, "max_bytes": 1000}, ["1.0"]),
    ],
)
def test_what_goes(label: str, of: VersionState, arguments: dict[str, object], expected: list[str]) -> None:
    assert [each.version for each in to_prune(MODELS, of, **arguments)] == expected, label  # type: ignore[arg-type]


def test_what_ships_with_the_program_is_not_removable() -> None:
    assert removable([model("1.0", read_only=True)], state("1.0")) == []


@given(
    st.sets(st.sampled_from(VERSIONS)),
    st.permutations(VERSIONS),
    st.sampled_from(VERSIONS),
    st.sampled_from(VERSIONS),
    st.lists(st.sampled_from(VERSIONS), max_size=2),
    st.integers(0, 5),
    st.integers(0, 100),
)
def test_whatever_there_is(
    brought: set[str],
    order: list[str],
    current: str,
    good: str,
    people: list[str],
    keep: int,
    max_bytes: int,
) -> None:
    downloads = [version for version in order if version not in brought]
    of = state(*downloads, current=current, last_good=good, of_people=tuple(people))
    going = [each.version for each in to_prune(MODELS, of, keep=keep, max_bytes=max_bytes)]
    kept = [version for version in downloads if version not in going]
    assert not {current, good, *people, *brought} & set(going)
    assert len([version for version in kept if version not in {current, good, *people}]) <= keep
    still_removable = [version for version in kept if version not in {current, good, *people}]
    assert not still_removable or 10 * (len(VERSIONS) - len(going)) <= max_bytes
