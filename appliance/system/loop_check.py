"""Asks the Loop what a doctor wants to know: does it answer, does it let us in, has it what we need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from appliance.system.facts import LoopFacts, LoopProblem
from models.errors import LoginFailed, LoopBusy, LoopError, LoopUnreachable, NotInLoop
from models.wire.loop import DeploymentTarget, LoopModel

LONGEST = 10.0
"""Seconds that the Loop may take for all that it is asked."""

_KINDS: tuple[tuple[type[LoopError], LoopProblem], ...] = (
    (LoopUnreachable, "unreachable"),
    (LoopBusy, "busy"),
    (LoginFailed, "login"),
    (NotInLoop, "project"),
)


class Project(Protocol):
    """What is asked; see `models.loop.client.LoopProject`."""

    async def deployment_target(self) -> DeploymentTarget | None: ...

    async def models(self, model_format: str | None = None) -> list[LoopModel]: ...


async def check(host: str, project: Project, formats: Sequence[str], longest: float = LONGEST) -> LoopFacts:
    """How the Loop is, as seen from this box; `formats` are those that it can run."""
    try:
        return await asyncio.wait_for(_ask(host, project, formats), longest)
    except asyncio.TimeoutError:
        return LoopFacts(host, "unreachable", f"it did not answer within {longest:g} s.")
    except LoopError as error:
        return LoopFacts(host, problem_of(error), str(error))


async def _ask(host: str, project: Project, formats: Sequence[str]) -> LoopFacts:
    target = await project.deployment_target()
    models = await project.models()
    wanted = next((model for model in models if target is not None and model.id == target.model_uuid), None)
    if target is None or wanted is None or set(wanted.formats) & set(formats):
        return LoopFacts(host)
    has = ", ".join(sorted(wanted.formats)) or "none yet"
    return LoopFacts(
        host,
        "format",
        f"The Loop deploys version {target.version}, but not in a format for this box ({' or '.join(formats)}); it has "
        f"{has}.",
    )


def problem_of(error: LoopError) -> LoopProblem:
    """What kind of trouble it is."""
    return next((problem for kind, problem in _KINDS if isinstance(error, kind)), "refused")
