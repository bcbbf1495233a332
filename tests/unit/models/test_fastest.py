"""The fastest way to run a model on this box: measured, and only among ways that see the same things."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.errors import RuntimeMissing
from models.fastest import INFERENCES, Measured, agree, machine, measure, ranked, sample
from models.heads.base import Candidates
from models.runtimes.base import Choice
from tests.support.scripted_bundles import categories, scripted_bundle, ssd
from tests.support.scripted_runtime import ScriptedModel

CAT, DOG = ((10, 10, 50, 50), 0), ((60, 60, 90, 90), 1)
SCENE = ssd((*CAT, 0.9), (*DOG, 0.6))

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def bundle(tmp_path: Path, scripted: list[ScriptedModel], monkeypatch: pytest.MonkeyPatch) -> MakeBundle:
    """A bundle with the scripts given, on a box with one core: each weight file is one way."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})

    def made(scripts: Mapping[str, Mapping[str, Any]], **keys: Any) -> Bundle:
        return scripted_bundle(tmp_path / "bundle", scripts, named=categories("cat", "dog"), **keys)

    return made


def way(file: str = "", accelerator: str = "cpu") -> Choice:
    return Choice("scripted", accelerator, 1, file)


class Clock:
    """Seconds; each look at it takes some."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def measured(bundle: Bundle, cache: Path, *, step: float = 0.001, **keys: Any) -> list[Measured]:
    return [each for each in measure(bundle, cache, clock=Clock(step), **keys) if isinstance(each, Measured)]


def test_each_way_is_told_before_it_is_tried(bundle: MakeBundle, tmp_path: Path) -> None:
    """It may be the last that is heard of it."""
    made = bundle({"float.json": {"outputs": SCENE}, "int8.json": {"outputs": SCENE}})
    assert list(measure(made, tmp_path, clock=Clock(0.125))) == [
        way("float.json"),
        Measured(way("float.json"), 125.0),
        way("int8.json"),
        Measured(way("int8.json"), 125.0),
    ]


def test_ways_that_killed_a_process_are_left_out(bundle: MakeBundle, tmp_path: Path) -> None:
    made = bundle({"float.json": {"outputs": SCENE}, "int8.json": {"outputs": SCENE}})
    found = measured(made, tmp_path, skip=[way("float.json")])
    assert [each.choice for each in found] == [way("int8.json")]


def test_only_what_is_wanted_is_tried(bundle: MakeBundle, tmp_path: Path) -> None:
    made = bundle({"a.json": {"outputs": SCENE}, "b.json": {"outputs": SCENE}}, accelerators={"a.json": "edgetpu"})
    found = measured(made, tmp_path, wanted="scripted/cpu")
    assert [each.choice for each in found] == [way()]


def test_a_way_that_fails_says_why_and_the_others_are_tried(bundle: MakeBundle, tmp_path: Path) -> None:
    made = bundle(
        {
            "a.json": {"load": "missing"},
            "b.json": {"infer": "ours"},
            "c.json": {"load": "foreign"},
            "d.json": {"outputs": [[[float("nan")] * 4]] * 4},
            "e.json": {"outputs": SCENE},
        }
    )
    found = {each.choice.file: each.reason for each in measured(made, tmp_path)}
    assert found["a.json"] == "no"
    assert found["b.json"] == "out of memory"
    assert "ZeroDivisionError" in str(found["c.json"])
    assert "Output 'boxes' has shape (1, 4)" in str(found["d.json"])
    assert found["e.json"] is None


def test_what_was_tried_is_freed(bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel]) -> None:
    made = bundle({"a.json": {"outputs": SCENE}, "b.json": {"outputs": SCENE, "infer": "foreign"}})
    measured(made, tmp_path)
    assert [model.closed for model in scripted] == [True, True]


def test_a_way_that_sees_other_things_is_out_of_question(bundle: MakeBundle, tmp_path: Path) -> None:
    """Compiled weights of another model in the same bundle, say, or a driver that calculates nonsense."""
    made = bundle(
        {"tpu.json": {"outputs": ssd((*CAT, 0.2))}, "cpu.json": {"outputs": SCENE}},
        accelerators={"tpu.json": "edgetpu"},
    )
    cpu, tpu = measured(made, tmp_path)
    assert (cpu.choice, cpu.reason) == (way(), None)  # the CPU comes first: it is what others are compared with
    assert (tpu.choice, tpu.milliseconds) == (way(accelerator="edgetpu"), None)
    assert tpu.reason == "sees other things than the CPU does in the same picture"


def test_fast_models_are_run_a_few_times_slow_ones_twice(
    bundle: MakeBundle, tmp_path: Path, scripted: list[ScriptedModel]
) -> None:
    made = bundle({"a.json": {"outputs": SCENE}})
    measured(made, tmp_path, step=0.001)
    measured(made, tmp_path, step=5.0)
    assert [len(model.seen) for model in scripted] == [INFERENCES + 1, 2 + 1]  # one more to warm up


def test_where_there_is_no_way_that_is_said(bundle: MakeBundle, tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing):
        measured(bundle({"a.json": {"outputs": SCENE}}), tmp_path, wanted="onnx")


def test_a_bundle_that_is_no_good_is_said_for_every_way(bundle: MakeBundle, tmp_path: Path) -> None:
    [found] = measured(bundle({"a.json": {"outputs": SCENE}}, head="crystal_ball"), tmp_path)
    assert "no 'crystal_ball'" in str(found.reason)


def test_the_fastest_comes_first_and_what_does_not_work_not_at_all() -> None:
    ways = [
        Measured(way("slow"), 40.0),
        Measured(way("broken"), None, "out of memory"),
        Measured(way("fast"), 12.5),
        Measured(way("as fast"), 12.5),
    ]
    assert [each.choice.file for each in ranked(ways)] == ["as fast", "fast", "slow"]


def test_of_ways_about_as_fast_the_one_with_fewer_threads_comes_first() -> None:
    measured_ways = [
        Measured(Choice("litert", "cpu", 4), 10.0),
        Measured(Choice("litert", "cpu", 1), 10.9),
        Measured(Choice("onnx", "cpu", 1), 11.5),
        Measured(Choice("onnx", "cpu", 2), 30.0),
    ]
    ordered = [str(each.choice) for each in ranked(measured_ways)]
    assert ordered == ["litert/cpu/1", "litert/cpu/4", "onnx/cpu/1", "onnx/cpu/2"]
    assert ranked([]) == []


# ---------------------------------------------------------------------- agreement


def candidates(*found: tuple[tuple[float, float, float, float], int, float]) -> Candidates:
    return Candidates(
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([number for _, number, _ in found], np.int64),
        np.array([score for _, _, score in found], np.float32),
    )


FILLING = ((0.0, 0.0, 0.0, 0.0), 0, 0.99)
MANY = [((x, 0.0, x + 5.0, 5.0), 0, 0.9 - x / 1000) for x in range(0, 90, 10)]


@pytest.mark.parametrize(
    ("reference", "other", "expected"),
    [
        pytest.param(candidates((*CAT, 0.9)), candidates((*CAT, 0.9)), True, id="the same"),
        pytest.param(candidates((*CAT, 0.9)), candidates((*DOG, 0.1), (*CAT, 0.9)), True, id="and next to nothing"),
        pytest.param(candidates((*CAT, 0.9)), candidates((*DOG, 0.3), (*CAT, 0.9)), False, id="more than that"),
        pytest.param(
            candidates((*CAT, 0.9)), candidates((*CAT, 0.9), (*CAT, 0.4)), True, id="twice, of which one is faint"
        ),
        pytest.param(candidates((*CAT, 0.9)), candidates((*CAT, 0.8)), True, id="quantized: a little less sure"),
        pytest.param(candidates((*CAT, 0.9)), candidates((*CAT, 0.7)), False, id="much less sure"),
        pytest.param(candidates((*CAT, 0.9)), candidates((CAT[0], 1, 0.9)), False, id="another class"),
        pytest.param(
            candidates((*CAT, 0.9)), candidates((*CAT, 0.9), (CAT[0], 1, 0.5)), True, id="and perhaps another class"
        ),
        pytest.param(candidates((*CAT, 0.9)), candidates((DOG[0], 0, 0.9)), False, id="another place"),
        pytest.param(
            candidates((*CAT, 0.9)), candidates(((14, 12, 53, 50), 0, 0.9)), True, id="half a stride beside it"
        ),
        pytest.param(candidates((*CAT, 0.9)), candidates(), False, id="nothing"),
        pytest.param(candidates((*CAT, 0.1)), candidates(), True, id="nothing where nearly nothing was"),
        pytest.param(candidates(), candidates((*CAT, 0.9)), False, id="something where nothing was"),
        pytest.param(candidates(), candidates(), True, id="nothing at all"),
        pytest.param(candidates((*CAT, 0.9), FILLING), candidates((*CAT, 0.9)), True, id="filling is not compared"),
        pytest.param(candidates(*MANY), candidates(*MANY[:5]), True, id="only the surest are compared"),
        pytest.param(candidates(*MANY), candidates(*MANY[:4]), False, id="but all of these"),
        pytest.param(
            Candidates(None, np.array([3, 7]), np.array([0.8, 0.1], np.float32)),
            Candidates(None, np.array([7, 3]), np.array([0.2, 0.75], np.float32)),
            True,
            id="classification: the same",
        ),
        pytest.param(
            Candidates(None, np.array([3, 7]), np.array([0.8, 0.1], np.float32)),
            Candidates(None, np.array([3, 7]), np.array([0.1, 0.8], np.float32)),
            False,
            id="classification: another class",
        ),
    ],
)
def test_two_ways_agree(reference: Candidates, other: Candidates, expected: bool) -> None:
    assert agree(reference, other) is expected


# ---------------------------------------------------------------------- what is measured with, and where


@pytest.mark.parametrize(("width", "height"), [(300, 300), (640, 352), (32, 64), (1, 1)])
def test_the_scene_is_the_same_every_time(width: int, height: int) -> None:
    scene = sample(width, height)
    assert (scene.shape, str(scene.dtype), scene.flags.c_contiguous) == ((height, width, 3), "uint8", True)
    assert np.array_equal(scene, sample(width, height))
    assert min(width, height) < 32 or len(np.unique(scene)) > 32


def test_a_box_is_told_by_its_processor_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    with_three = machine()
    assert machine() == with_three
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert machine() != with_three
