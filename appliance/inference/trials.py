"""Has every way to run a model tried in processes of their own: what kills or hangs one of them is told, and skipped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from appliance.inference.child import Child, Start
from appliance.inference.process import error_of
from models.bundle import Bundle
from models.errors import ModelFailed
from models.fastest import Measured
from models.runtimes.base import Choice

log = logging.getLogger(__name__)

MAX_FATAL = 5
"""So many ways may kill or hang their process before the rest is left untried."""

BUILD_DEADLINE = 1800.0
"""Seconds. TensorRT compiles a model when it loads it for the first time, which takes minutes on a Jetson."""


def loading_deadline(choice: Choice, usual: float) -> float:
    """Seconds within which a model must be loaded this way; `usual` unless there is something to compile."""
    return max(usual, BUILD_DEADLINE) if choice.accelerator == "tensorrt" else usual


async def try_ways(
    bundle: Bundle, cache: Path, wanted: str, deadline: float, start: Start = Child.start
) -> list[Measured]:
    """Measure all ways that are `wanted`; each may take `deadline` seconds.

    Raises `ModelFailed` or `BundleError` where the bundle cannot be run in any way, and `DetectionUnavailable` where the
    box cannot start a process.
    """
    fatal: list[Measured] = []
    while True:
        measured, died_of = await _one_process(bundle, cache, wanted, deadline, [way.choice for way in fatal], start)
        if died_of is None:
            return [*measured, *fatal]
        log.warning("trying the model as %s %s", died_of.choice, died_of.reason)
        fatal.append(died_of)
        if len(fatal) == MAX_FATAL:
            return [*measured, *fatal]


async def _one_process(
    bundle: Bundle, cache: Path, wanted: str, deadline: float, skip: Sequence[Choice], start: Start
) -> tuple[list[Measured], Measured | None]:
    """What could be measured, and the way that the process died of or hung in."""
    child = await start("appliance.inference.measuring")
    heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    child.gone.add_done_callback(lambda _: heard.put_nowait(None))
    child.listen(heard.put_nowait)
    measured: list[Measured] = []
    trying: Choice | None = None
    try:
        with suppress(OSError):  # if it has died already, nothing is heard but that
            child.tell({"folder": str(bundle.folder), "cache": str(cache), "wanted": wanted, "skip": [*map(str, skip)]})
        patience = deadline
        while (said := await _next(heard, patience)) is not None:
            if "failed" in said:
                raise error_of(said)
            if "trying" in said:
                trying = Choice.parse(said["trying"])
                patience = loading_deadline(trying, deadline)
            elif "tried" in said:
                measured.append(Measured(Choice.parse(said["tried"]), said["milliseconds"], said["reason"]))
                trying, patience = None, deadline
            else:
                return measured, None
    except TimeoutError:
        reason = f"did not come to an end within {patience:g} s"
    else:
        reason = f"killed the process that tried it. {child.why_it_died()}"
    finally:
        await child.stop()
    if trying is None:
        raise ModelFailed(f"Looking for a way to run the model failed: it {reason}")
    return measured, Measured(trying, None, reason)


async def _next(heard: asyncio.Queue[dict[str, Any] | None], patience: float) -> dict[str, Any] | None:
    """Not by `asyncio.wait_for`: before Python 3.12 that loses a cancellation which comes together with a message."""
    with anyio.fail_after(patience):
        return await heard.get()
