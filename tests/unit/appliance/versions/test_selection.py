"""Which model is meant, and which are tried at start."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.versions.reference import ModelReference
from appliance.versions.selection import Mode, Scope, at_start, is_seed, parse_mode, resolve
from appliance.versions.state import VersionState
from models.errors import UnknownVersion
from models.store import StoredModel
from models.zoo import SEED_ORGANIZATION, SEED_PROJECT

ANYBODY = Scope(None, None, ("litert", "onnx"))
ACME = Scope("acme", "kitchens", ("litert", "onnx"))


def model(text: str) -> StoredModel:
    """From `organization/project/format/version`."""
    organization, project, form, version = text.split("/")
    return StoredModel(organization, project, form, version, f"id of {text}", Path("/models") / text, False, 1000)


SEED = model(f"{SEED_ORGANIZATION}/{SEED_PROJECT}/litert/0.0")


def reference(found: StoredModel) -> ModelReference:
    """How the state names a model."""
    return ModelReference(**found.identity._asdict())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("follow_loop", Mode("follow_loop")),
        (" pause\n", Mode("pause")),
        ("1.4", Mode("specific_version", "1.4")),
        ("12", Mode("specific_version", "12")),
        ("acme/kitchens/1.4", Mode("specific_version", "acme/kitchens/1.4")),
        ("acme/kitchens/onnx/1.4", Mode("specific_version", "acme/kitchens/onnx/1.4")),
    ],
)
def test_modes_and_versions_as_people_write_them(text: str, expected: Mode) -> None:
    assert parse_mode(text) == expected


NO_MODES = [
    "",
    "latest",
    "FOLLOW_LOOP",
    "v1.4",
    "1.",
    ".1",
    "1..4",
    "1 4",
    "-1",
    "1,4",
    "a/1.4",
    "../1.4",
    "1/4",
    "٣",
    "9" * 80,
]


@pytest.mark.parametrize("text", NO_MODES)
def test_anything_else_is_told_what_would_be_right(text: str) -> None:
    with pytest.raises(UnknownVersion, match=r"neither follow_loop nor pause nor a version such as 1\.4"):
        parse_mode(text)


@given(st.text(max_size=200))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    try:
        mode = parse_mode(text)
    except UnknownVersion as error:
        assert len(str(error)) < 300
    else:
        assert (mode.version is not None) == (mode.control == "specific_version")


def test_standalone_everybody_s_models_count_in_the_formats_of_this_box() -> None:
    assert ANYBODY.holds(model("acme/kitchens/litert/1.0"))
    assert ANYBODY.holds(model("zauberzeug/demo/onnx/1.0"))
    assert not ANYBODY.holds(model("acme/kitchens/appliance_pytorch/1.0"))


def test_with_a_project_only_its_own_count_and_the_seed_model_always_does() -> None:
    assert ACME.holds(model("acme/kitchens/litert/1.0"))
    assert not ACME.holds(model("acme/bathrooms/litert/1.0"))
    assert not ACME.holds(model("zauberzeug/kitchens/litert/1.0"))
    assert ACME.holds(SEED)
    assert Scope("acme", "kitchens", ("onnx",)).holds(SEED), "in whatever format it comes"


def test_versions_are_compared_as_numbers() -> None:
    models = [model("acme/kitchens/litert/1.9"), model("acme/kitchens/litert/1.10")]

    assert resolve("1.10", models, ACME).version == "1.10"
    with pytest.raises(UnknownVersion):
        resolve("1.1", models, ACME)


def test_of_several_formats_the_preferred_one_is_meant() -> None:
    models = [model("acme/kitchens/onnx/1.0"), model("acme/kitchens/litert/1.0")]

    assert resolve("1.0", models, Scope("acme", "kitchens", ("litert", "onnx"))).format == "litert"
    assert resolve("1.0", models, Scope("acme", "kitchens", ("onnx", "litert"))).format == "onnx"
    assert resolve("acme/kitchens/onnx/1.0", models, ACME).format == "onnx"


def test_a_version_of_two_projects_has_to_be_told_apart() -> None:
    models = [model("acme/kitchens/litert/1.0"), model("zauberzeug/demo/litert/1.0")]

    with pytest.raises(UnknownVersion, match=r"say which: acme/kitchens/1\.0, zauberzeug/demo/1\.0"):
        resolve("1.0", models, ANYBODY)
    assert resolve("zauberzeug/demo/1.0", models, ANYBODY) == models[1]
    assert resolve("1.0", models, ACME) == models[0], "the other one does not count here"


def test_what_is_not_there_is_told_what_is() -> None:
    models = [model("acme/kitchens/litert/1.10"), model("acme/kitchens/litert/1.9"), SEED]

    with pytest.raises(UnknownVersion, match=r"there are: 0\.0, 1\.9, 1\.10"):
        resolve("2.0", models, ACME)
    with pytest.raises(UnknownVersion, match="there are: none"):
        resolve("2.0", [], ACME)
    with pytest.raises(UnknownVersion, match="numbers with dots"):
        resolve("newest", models, ACME)


def test_a_fresh_box_starts_with_the_newest_of_its_own_and_falls_back_to_the_seed_model() -> None:
    old, new = model("acme/kitchens/litert/1.9"), model("acme/kitchens/litert/1.10")
    foreign = model("zauberzeug/demo/litert/7.0")

    assert at_start(VersionState(), [SEED, old, new, foreign], ACME) == [new, old, SEED]


def test_what_served_serves_again_before_anything_newer() -> None:
    old, good, new = (model(f"acme/kitchens/litert/{version}") for version in ("1.0", "1.1", "1.2"))
    state = VersionState(current=reference(old), last_good=reference(good))

    assert at_start(state, [SEED, old, good, new], ACME) == [old, good, new, SEED]


def test_what_was_chosen_comes_first() -> None:
    old, new = model("acme/kitchens/litert/1.0"), model("acme/kitchens/litert/1.1")
    state = VersionState(mode="specific_version", chosen="1.0", current=reference(new))

    assert at_start(state, [SEED, old, new], ACME)[0] == old


def test_what_was_chosen_and_is_gone_stands_in_nobody_s_way() -> None:
    left = model("acme/kitchens/litert/1.0")
    state = VersionState(mode="specific_version", chosen="9.0", current=reference(model("acme/kitchens/litert/9.0")))

    assert at_start(state, [SEED, left], ACME) == [left, SEED]


def test_nobody_is_tried_twice_and_nobody_from_elsewhere() -> None:
    one = model("acme/kitchens/litert/1.0")
    foreign = model("zauberzeug/demo/litert/1.0")
    state = VersionState(
        mode="specific_version", chosen="1.0", current=reference(one), last_good=reference(foreign)
    )  # fmt: skip

    assert at_start(state, [SEED, one, foreign], ACME) == [one, SEED]


def test_the_seed_model_is_known_by_its_name() -> None:
    assert is_seed(SEED)
    assert not is_seed(model(f"{SEED_ORGANIZATION}/other/litert/0.0"))
