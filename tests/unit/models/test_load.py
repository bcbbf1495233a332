"""Which weights of a bundle are loaded, under which runtime and with how many threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from models import heads, plugins
from models.bundle import Bundle, open_bundle
from models.bundle_format import InferenceSpec
from models.errors import BundleError, ModelFailed, RuntimeMissing
from models.load import cpu_threads, load, ways
from models.runtimes.base import Choice
from models.zoo import seed_folder
from tests.support.scripted_bundles import scripted_bundle, ssd
from tests.support.scripted_runtime import ScriptedModel

pytestmark = pytest.mark.usefixtures("scripted")

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def bundle(tmp_path: Path) -> MakeBundle:
    """A bundle with the scripts given: name of the weight file -> what its runtime does."""

    def made(scripts: Mapping[str, Mapping[str, Any]], **keys: Any) -> Bundle:
        return scripted_bundle(tmp_path / "bundle", scripts, **keys)

    return made


WORKS = {"outputs": ssd()}


def inference(bundle: Bundle) -> InferenceSpec:
    assert bundle.model.inference is not None
    return bundle.model.inference


def named(bundle: Bundle, wanted: str = "auto") -> list[str]:
    return [str(choice) for choice, _ in ways(inference(bundle), wanted)]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the box have so many cores."""
    return lambda count: monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)))


# ---------------------------------------------------------------------- ways


@pytest.mark.parametrize(("count", "threads"), [(1, [1]), (2, [1, 2]), (4, [1, 4]), (64, [1, 4])])
def test_one_thread_is_tried_and_all_that_are_of_use(
    cores: Callable[[int], None], count: int, threads: list[int]
) -> None:
    cores(count)
    assert cpu_threads() == threads


def test_every_way_to_run_the_seed_model(cores: Callable[[int], None]) -> None:
    cores(2)
    assert named(open_bundle(seed_folder())) == [
        "litert/edgetpu/1",
        "litert/cpu/1",
        "litert/cpu/2",
        "onnx/cpu/1",
        "onnx/cpu/2",
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("litert", ["litert/edgetpu/1", "litert/cpu/1", "litert/cpu/2"]),
        ("litert/edgetpu", ["litert/edgetpu/1"]),
        ("onnx/cpu", ["onnx/cpu/1", "onnx/cpu/2"]),
        ("onnx/cpu/2", ["onnx/cpu/2"]),
        ("litert/cpu/3", ["litert/cpu/3"]),
    ],
)
def test_the_settings_may_ask_for_some_of_them(cores: Callable[[int], None], wanted: str, expected: list[str]) -> None:
    cores(2)
    assert named(open_bundle(seed_folder()), wanted) == expected


@pytest.mark.parametrize("wanted", ["onnx/edgetpu", "abacus", "lite", "litert/edgetpu/2"])
def test_where_nothing_is_as_asked_for_that_is_said(wanted: str) -> None:
    with pytest.raises(RuntimeMissing) as missing:
        ways(inference(open_bundle(seed_folder())), wanted)
    assert str(missing.value).startswith(
        f"This model cannot run here as {wanted}, which the settings ask for. "
        "It carries litert for edgetpu, litert for cpu, onnx for any."
    )


def test_float_and_int8_weights_of_one_runtime_are_told_apart(bundle: MakeBundle, cores: Callable[[int], None]) -> None:
    cores(2)
    both = bundle({"float.json": WORKS, "int8.json": WORKS})
    assert named(both) == [
        "scripted/cpu/1/float.json",
        "scripted/cpu/2/float.json",
        "scripted/cpu/1/int8.json",
        "scripted/cpu/2/int8.json",
    ]
    assert named(both, "scripted/cpu/2") == ["scripted/cpu/2/float.json", "scripted/cpu/2/int8.json"]
    assert named(both, "scripted/cpu/2/int8.json") == ["scripted/cpu/2/int8.json"]


def test_weights_for_different_accelerators_need_not_be_told_apart(
    bundle: MakeBundle, cores: Callable[[int], None]
) -> None:
    cores(1)
    both = bundle({"a.json": WORKS, "b.json": WORKS}, accelerators={"a.json": "edgetpu"})
    assert named(both) == ["scripted/edgetpu/1", "scripted/cpu/1"]


def test_a_runtime_that_is_not_there_leaves_the_others(bundle: MakeBundle, cores: Callable[[int], None]) -> None:
    cores(1)
    made = bundle({"puzzling.json": WORKS, "model.json5": WORKS})
    inference(made).weights[0].runtime = "abacus"
    assert named(made) == ["scripted/cpu/1"]


def test_a_runtime_that_is_broken_leaves_the_others(bundle: MakeBundle, cores: Callable[[int], None]) -> None:
    cores(1)
    assert named(bundle({"puzzling.json": WORKS, "model.json5": WORKS})) == ["scripted/cpu/1"]


def test_where_every_runtime_is_missing_it_is_told_what_each_needs(bundle: MakeBundle) -> None:
    made = bundle({"puzzling.json": WORKS, "model.json5": WORKS})
    inference(made).weights[1].runtime = "abacus"
    expected = "cannot say how it would run puzzling.json: ZeroDivisionError: a bug There is no 'abacus' in"
    with pytest.raises(RuntimeMissing, match=expected):
        ways(inference(made))


# ---------------------------------------------------------------------- loading


def test_what_was_chosen_is_loaded(bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel]) -> None:
    both = bundle({"float.json": WORKS, "int8.json": WORKS})
    detector = load(both, Choice.parse("scripted/cpu/3/int8.json"), cache=tmp_path)
    assert [(model.file, model.choice.threads) for model in scripted] == [("int8.json", 3)]
    assert str(detector.choice) == "scripted/cpu/3/int8.json"


def test_without_a_choice_the_first_way_that_works_is_taken(
    bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel], cores: Callable[[int], None]
) -> None:
    cores(1)
    made = bundle({"a.json": {"load": "missing"}, "b.json": {"load": "ours"}, "c.json": WORKS, "d.json": WORKS})
    assert str(load(made, cache=tmp_path).choice) == "scripted/cpu/1/c.json"
    assert [model.file for model in scripted] == ["c.json"]


def test_where_nothing_loads_the_first_reason_is_told(bundle: MakeBundle, tmp_path: Path) -> None:
    made = bundle({"a.json": {"load": "missing"}, "b.json": {"load": "ours"}})
    with pytest.raises(RuntimeMissing, match=r"^no$"):
        load(made, cache=tmp_path)


def test_whatever_a_runtime_raises_becomes_ours(bundle: MakeBundle, tmp_path: Path) -> None:
    expected = r"^The runtime scripted cannot load m: ZeroDivisionError: a bug$"
    with pytest.raises(ModelFailed, match=expected):
        load(bundle({"m": {"load": "foreign"}}), cache=tmp_path)


def test_weights_are_loaded_as_often_as_pictures_may_be_under_way(
    bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel]
) -> None:
    load(bundle({"m": {**WORKS, "concurrency": "copies"}}), cache=tmp_path, lanes=3)
    assert len(scripted) == 3


def test_what_was_loaded_in_vain_is_closed(bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel]) -> None:
    """The memory suffices for one copy, not for two."""
    with pytest.raises(ModelFailed, match="out of memory"):
        load(bundle({"m": {**WORKS, "concurrency": "copies", "load": "ours", "after": 1}}), cache=tmp_path, lanes=2)
    assert [model.closed for model in scripted] == [True] * len(scripted)
    assert scripted


def test_a_head_that_nobody_has_is_an_error_of_the_bundle(
    bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel]
) -> None:
    with pytest.raises(BundleError, match=r"no 'crystal_ball' in detector_appliance\.heads"):
        load(bundle({"m": WORKS}, head="crystal_ball"), cache=tmp_path)
    assert [model.closed for model in scripted] == [True]
    assert "crystal_ball" not in plugins.names(heads.GROUP, heads.BUILT_IN)


@pytest.mark.parametrize("text", ["litert/cpu/2", "onnx/tensorrt/1", "litert/cpu/4/model_int8.tflite"])
def test_a_way_is_written_as_it_is_read(text: str) -> None:
    assert str(Choice.parse(text)) == text


@pytest.mark.parametrize("text", ["", "litert", "litert/cpu", "litert/cpu/two", "a/b/1/c/d"])
def test_what_is_no_way(text: str) -> None:
    with pytest.raises(ValueError):
        Choice.parse(text)
