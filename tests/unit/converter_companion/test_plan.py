"""Which conversions are due, and which have failed for good."""

from __future__ import annotations

import pytest

from converter_companion.plan import Failure, Task, due, is_settled, past
from models.wire.loop import LoopModel

PAIRS = [("appliance_pytorch", "litert"), ("appliance_pytorch", "onnx")]


def model(version: str | None, *formats: str) -> LoopModel:
    return LoopModel(id=f"id-{version}", version=version, formats=list(formats))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        pytest.param([], [], id="no models"),
        pytest.param([model("1.0", "mocked")], [], id="none has the source"),
        pytest.param([model("1.0", "appliance_pytorch")], ["1.0 litert", "1.0 onnx"], id="both targets"),
        pytest.param([model("1.0", "appliance_pytorch", "onnx")], ["1.0 litert"], id="one is there"),
        pytest.param([model("1.0", "appliance_pytorch", "onnx", "litert")], [], id="all are there"),
        pytest.param([model(None, "appliance_pytorch")], [], id="unpublished"),
        pytest.param(
            [model("1.0", "appliance_pytorch", "onnx"), model("1.1", "appliance_pytorch", "onnx")],
            ["1.1 litert", "1.0 litert"],
            id="the newest first",
        ),
    ],
)
def test_what_is_due(models: list[LoopModel], expected: list[str]) -> None:
    found = due("acme", "bolts", models, PAIRS)
    assert [f"{task.version} {task.target}" for task in found] == expected
    assert all((task.organization, task.project) == ("acme", "bolts") for task in found)


TASK = Task("acme", "bolts", "id-1", "1.0", "appliance_pytorch", "litert")
FAILURE = Failure(reason="no", file="tag 7", circumstances="here")


@pytest.mark.parametrize(
    ("failures", "file", "circumstances", "settled"),
    [
        pytest.param({}, "tag 7", "here", False, id="never tried"),
        pytest.param({TASK.key: FAILURE}, "tag 7", "here", True, id="nothing changed"),
        pytest.param({TASK.key: FAILURE}, "tag 8", "here", False, id="another file"),
        pytest.param({TASK.key: FAILURE}, "tag 7", "there", False, id="other circumstances"),
        pytest.param({TASK.key: FAILURE}, None, "here", True, id="the Loop does not say which file"),
        pytest.param({"another": FAILURE}, "tag 7", "here", False, id="another model"),
    ],
)
def test_what_failed_is_tried_again_only_when_something_changed(
    failures: dict[str, Failure], file: str | None, circumstances: str, settled: bool
) -> None:
    assert is_settled(TASK, failures, file, circumstances) is settled


@pytest.mark.parametrize(
    ("remembered", "lacking", "unread", "expected"),
    [
        pytest.param([TASK.key], [TASK], [], [], id="still due"),
        pytest.param([TASK.key], [], [], [TASK.key], id="the model is gone, or has the format"),
        pytest.param([TASK.key], [], [("acme", "bolts")], [], id="a project that could not be asked"),
        pytest.param([TASK.key], [], [("acme", "bolt")], [TASK.key], id="another one whose name begins alike"),
        pytest.param([], [TASK], [], [], id="nothing is remembered"),
    ],
)
def test_what_is_no_matter_any_more_is_not_remembered(
    remembered: list[str], lacking: list[Task], unread: list[tuple[str, str]], expected: list[str]
) -> None:
    assert past(remembered, lacking, unread) == expected
