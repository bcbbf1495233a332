"""What a doctor hears from a Loop."""

from __future__ import annotations

import asyncio

import pytest

from appliance.system.facts import LoopFacts
from appliance.system.loop_check import check
from models.errors import LoginFailed, LoopBusy, LoopError, LoopRefused, LoopUnreachable, NotInLoop
from models.wire.loop import DeploymentTarget, LoopModel


class Fake:
    """A project that answers like this."""

    def __init__(self, formats: list[str] | None = None, error: LoopError | None = None, slow: bool = False) -> None:
        self._formats, self._error, self._slow = formats, error, slow

    async def deployment_target(self) -> DeploymentTarget | None:
        if self._slow:
            await asyncio.Event().wait()
        if self._error is not None:
            raise self._error
        return None if self._formats is None else DeploymentTarget(model_uuid="m-1", version="1.4")

    async def models(self, model_format: str | None = None) -> list[LoopModel]:
        return [
            LoopModel(id="m-0", formats=["litert"]),
            LoopModel(id="m-1", version="1.4", formats=self._formats or []),
        ]


def ask(project: Fake, longest: float = 10.0) -> LoopFacts:
    return asyncio.run(check("loop.example", project, ("litert", "onnx"), longest))


@pytest.mark.parametrize("formats", [None, ["onnx"], ["appliance_pytorch", "litert"]])
def test_a_loop_that_has_what_we_need_is_well(formats: list[str] | None) -> None:
    assert ask(Fake(formats)) == LoopFacts("loop.example")


def test_a_format_that_is_missing_is_named() -> None:
    found = ask(Fake(["yolov5_wts"]))

    assert found.problem == "format"
    assert found.because == (
        "The Loop deploys version 1.4, but not in a format for this box (litert or onnx); it has yolov5_wts."
    )


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (LoopUnreachable("No route."), "unreachable"),
        (LoopBusy("Later.", 503), "busy"),
        (LoginFailed("Wrong password.", 401), "login"),
        (NotInLoop("No project.", 404), "project"),
        (LoopRefused("No.", 422), "refused"),
    ],
)
def test_each_trouble_is_told_apart(error: LoopError, problem: str) -> None:
    assert ask(Fake(error=error)) == LoopFacts("loop.example", problem, str(error))  # type: ignore[arg-type]


def test_a_loop_that_never_answers_is_not_waited_for() -> None:
    assert ask(Fake(slow=True), longest=0.01).problem == "unreachable"
