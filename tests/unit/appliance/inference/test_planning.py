"""In which order the ways to run a model are tried, and when a way is less than what was wanted."""

from __future__ import annotations

import asyncio

import pytest

from appliance.inference.choosing import Ways
from appliance.inference.planning import Plan, cpu_choices, make_plan
from models.errors import BundleError, ModelFailed
from models.load import cpu_threads
from models.runtimes.base import Choice
from tests.support.fake_workers import FixedWays, a_bundle

MOST = cpu_threads()[-1]
BOTH = (("litert", "edgetpu"), ("litert", "cpu"), ("onnx", "any"))


def choices(*texts: str) -> tuple[Choice, ...]:
    return tuple(map(Choice.parse, texts))


def plan_of(chooser: FixedWays, *weights: tuple[str, str]) -> Plan:
    return asyncio.run(make_plan(chooser, a_bundle("1.0", *(weights or BOTH))))


def test_what_was_measured_is_tried_in_that_order() -> None:
    plan = plan_of(FixedWays("litert/edgetpu/1", "onnx/cpu/2", "litert/cpu/2"))
    assert plan.choices == choices("litert/edgetpu/1", "onnx/cpu/2", "litert/cpu/2")
    assert plan.best == Choice.parse("litert/edgetpu/1")
    assert plan.trouble is None


def test_a_lost_accelerator_is_what_should_run_the_model() -> None:
    plan = plan_of(FixedWays("onnx/cpu/2", lost="litert/edgetpu/1"))
    assert plan.choices == choices("onnx/cpu/2")
    assert plan.best == Choice.parse("litert/edgetpu/1")
    assert plan.trouble == "edgetpu ran this model before and is gone"
    assert plan.falls_short(Choice.parse("onnx/cpu/2"))
    assert not plan.falls_short(Choice.parse("litert/edgetpu/1"))


def test_behind_a_forced_accelerator_stands_what_a_cpu_could_do() -> None:
    plan = plan_of(FixedWays("litert/edgetpu/1", wanted="litert/edgetpu"))
    assert plan.choices == choices("litert/edgetpu/1", f"litert/cpu/{MOST}", f"onnx/cpu/{MOST}")
    assert plan.falls_short(Choice.parse("litert/cpu/2"))


@pytest.mark.parametrize(
    ("wanted", "tried", "best"),
    [
        ("litert/edgetpu", ("litert/cpu", "onnx/cpu"), "litert/edgetpu/1"),
        ("onnx/cuda", ("litert/cpu", "onnx/cpu"), "onnx/cuda/1"),
        ("onnx/tensorrt/1", ("litert/cpu", "onnx/cpu"), "onnx/tensorrt/1"),
        ("litert/tensorrt", ("litert/cpu", "onnx/cpu"), None),  # LiteRT weights of this bundle are for other hardware
        ("onnx", ("litert/cpu",), None),  # ONNX Runtime is not installed: no accelerator would change that
        ("onnx/cpu/3", ("litert/cpu", "onnx/cpu"), None),  # three threads failed; the usual number may not
        ("own", ("litert/cpu", "onnx/cpu"), None),
    ],
)
def test_where_nothing_runs_as_the_settings_ask_for_a_cpu_does(
    wanted: str, tried: tuple[str, ...], best: str | None
) -> None:
    chooser = FixedWays(wanted=wanted)
    chooser.error = ModelFailed("what it needs is not here.")
    plan = plan_of(chooser)
    assert plan.choices == choices(*(f"{each}/{MOST}" for each in tried))
    assert plan.best == (None if best is None else Choice.parse(best))
    assert plan.trouble == f"It cannot be run as {wanted}, which the settings ask for: what it needs is not here."
    assert plan.falls_short(plan.choices[0])


def test_where_nothing_runs_at_all_that_is_an_error() -> None:
    with pytest.raises(ModelFailed, match="in no way"):
        plan_of(FixedWays())
    forced = FixedWays(wanted="litert/edgetpu")
    forced.error = ModelFailed("no Edge TPU is plugged in")
    with pytest.raises(ModelFailed, match="no Edge TPU"):
        plan_of(forced, ("litert", "edgetpu"))  # no CPU weights


def test_a_bundle_that_is_no_good_is_not_tried_otherwise() -> None:
    chooser = FixedWays(wanted="onnx")
    chooser.error = BundleError("model.onnx is damaged")
    with pytest.raises(BundleError):
        plan_of(chooser)


def test_a_forced_runtime_that_only_fails_to_load_has_others_behind_it() -> None:
    plan = plan_of(FixedWays("onnx/cpu/1", wanted="onnx/cpu/1"))
    assert plan.choices == choices(*dict.fromkeys(["onnx/cpu/1", f"litert/cpu/{MOST}", f"onnx/cpu/{MOST}"]))
    assert not plan.falls_short(Choice.parse("onnx/cpu/1"))
    assert plan.falls_short(Choice.parse(f"litert/cpu/{MOST}"))


def test_another_cpu_runtime_than_the_fastest_is_no_shortfall() -> None:
    plan = plan_of(FixedWays("onnx/cpu/2", "litert/cpu/2"))
    assert not plan.falls_short(Choice.parse("litert/cpu/2"))


ON_TPU = Plan(Ways(choices("litert/edgetpu/1")), choices("litert/edgetpu/1", "litert/cpu/2", "onnx/cpu/2"), None)
ON_GPU = Plan(Ways(choices("onnx/tensorrt/1")), choices("onnx/tensorrt/1", "onnx/cuda/1", "onnx/cpu/2"), None)
TPU_ONLY = Plan(Ways(choices("litert/edgetpu/1")), choices("litert/edgetpu/1"), None)


@pytest.mark.parametrize(
    ("plan", "current", "deaths", "present", "tried"),
    [
        (ON_TPU, "litert/edgetpu/1", 1, True, ["litert/edgetpu/1", "litert/cpu/2", "onnx/cpu/2"]),
        (ON_TPU, "litert/edgetpu/1", 2, True, ["litert/edgetpu/1", "litert/cpu/2", "onnx/cpu/2"]),
        (ON_TPU, "litert/edgetpu/1", 3, True, ["litert/cpu/2", "onnx/cpu/2"]),
        (ON_TPU, "litert/edgetpu/1", 1, False, ["litert/cpu/2", "onnx/cpu/2"]),
        (ON_TPU, "litert/cpu/2", 1, True, ["litert/cpu/2", "onnx/cpu/2"]),
        (ON_TPU, "onnx/cpu/2", 7, True, ["onnx/cpu/2", "litert/cpu/2"]),
        (ON_GPU, "onnx/tensorrt/1", 3, True, ["onnx/cuda/1", "onnx/cpu/2"]),
        (TPU_ONLY, "litert/edgetpu/1", 9, False, ["litert/edgetpu/1"]),
    ],
)
def test_what_is_tried_after_a_death(plan: Plan, current: str, deaths: int, present: bool, tried: list[str]) -> None:
    assert plan.after_death(Choice.parse(current), deaths, present) == choices(*tried)


def test_the_ways_of_a_cpu_are_named_once_each() -> None:
    bundle = a_bundle("1.0", ("litert", "cpu"), ("litert", "any"), ("onnx", "any"), ("onnx", "cuda"))
    assert cpu_choices(bundle) == choices(f"litert/cpu/{MOST}", f"onnx/cpu/{MOST}")
