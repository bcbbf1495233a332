"""Versions of new models, and what an upload of a training is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.loop_server.numbering import (
    ROUTE_WORDS,
    AlreadyStored,
    FurtherFormat,
    NewModel,
    TrainedModel,
    best_of,
    checked_format,
    next_major,
    next_minor,
    upload_of_training,
)
from models.errors import InvalidInput
from models.store import version_key

versions = st.lists(st.builds(lambda major, minor: f"{major}.{minor}", st.integers(0, 40), st.integers(0, 40)))


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([], "1.0"),
        (["1.0"], "2.0"),
        (["1.0", "1.1", "1.2"], "2.0"),
        (["9.3", "10.0"], "11.0"),
        (["0.0"], "1.0"),
        (["3"], "4.0"),
        ([None], "1.0"),
        ([None, "2.1"], "3.0"),
        (["by hand"], "1.0"),
    ],
)
def test_what_somebody_uploads_is_the_next_major_version(used: list[str | None], expected: str) -> None:
    assert next_major(used) == expected


@pytest.mark.parametrize(
    ("used", "base", "expected"),
    [
        pytest.param([], None, "1.0", id="an empty project"),
        pytest.param(["1.0"], "1.0", "1.1", id="the first of a base model"),
        pytest.param(["1.0", "2.0", "2.1"], "1.0", "1.1", id="an older major version goes on"),
        pytest.param(["1.0", "1.1", "1.2"], "1.0", "1.3", id="a base model that others began from, too"),
        pytest.param(["1.9", "1.10"], "1.9", "1.11", id="numbers, not text"),
        pytest.param(["1.0", "3.2", "2.7"], None, "3.3", id="no base: the highest"),
        pytest.param(["9.0", "10.0"], None, "10.1", id="the highest as a number"),
        pytest.param(["2.0"], "1.4", "1.5", id="the base is gone, its number is not used again"),
        pytest.param([], "4.2", "4.3", id="all are gone but the base"),
        pytest.param(["1.0"], "not published", "1.1", id="a base without a version"),
    ],
)
def test_what_a_training_finds_is_the_next_minor_version(used: list[str], base: str | None, expected: str) -> None:
    assert next_minor(used, base) == expected


@given(versions, st.none() | st.sampled_from(["1.0", "7.7"]))
def test_a_number_is_never_given_twice_and_comes_after_those_of_its_major_version(
    used: list[str], base: str | None
) -> None:
    for new in (next_major(used), next_minor(used, base)):
        assert new not in used
        major = version_key(new)[0]
        assert all(version_key(new) > version_key(old) for old in used if version_key(old)[0] == major)


def test_the_first_format_of_a_training_is_a_new_model_and_the_others_join_it() -> None:
    best = best_of({"best_epoch": 3, "confusion_matrix": {"a": {"tp": 1, "fp": 0, "fn": 0}}})
    assert upload_of_training(None, best, "onnx") == NewModel()
    stored = TrainedModel("id", best, frozenset({"onnx"}))
    assert upload_of_training(stored, best, "litert") == FurtherFormat("id")
    assert upload_of_training(stored, best, "onnx") == AlreadyStored("id")


def test_a_better_model_of_the_same_training_is_a_new_model_in_every_format() -> None:
    before = best_of({"best_epoch": 3, "confusion_matrix": {}})
    stored = TrainedModel("id", before, frozenset({"onnx"}))
    for better in (
        best_of({"best_epoch": 4, "confusion_matrix": {}}),
        best_of({"best_epoch": 3, "confusion_matrix": {"a": {"tp": 1, "fp": 0, "fn": 0}}}),
    ):
        assert upload_of_training(stored, better, "onnx") == NewModel()
        assert upload_of_training(stored, better, "litert") == NewModel()


def test_what_a_trainer_repeats_is_no_better_model() -> None:
    """A trainer that was killed tells its last figures again, in whatever order, with whatever beside them."""
    said = {"best_epoch": 3, "confusion_matrix": {"a": {"tp": 1, "fp": 2}, "b": {"tp": 0, "fp": 0}}}
    again = {"confusion_matrix": {"b": {"fp": 0, "tp": 0}, "a": {"fp": 2, "tp": 1}}, "best_epoch": 3, "trainer_id": "x"}
    assert best_of(said) == best_of(again)


@pytest.mark.parametrize("name", ["litert", "onnx", "appliance_pytorch", "mocked", "yolov5_wts", "a.b-c_1", ".a", "0"])
def test_names_of_formats(name: str) -> None:
    assert checked_format(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "Onnx", "a/b", "a b", "a\n", "ü", "a" * 65, "a%2fb", *sorted(ROUTE_WORDS)]
)
def test_what_cannot_name_a_format(name: str) -> None:
    with pytest.raises(InvalidInput, match="like litert"):
        checked_format(name)
