"""What an answer of the Loop means for the pictures that were sent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import AlreadyInLoop, LoginFailed, LoopBusy, LoopError, LoopRefused, LoopUnreachable, NotInLoop

CONTENT = frozenset({409, 413, 415, 422})
"""Statuses that speak of what was sent: one of the pictures, or their number, is not wanted as it is."""

NOT_OUR_FAULT = frozenset({408, 429, 503})
"""Statuses that speak of the Loop alone."""


@dataclass(frozen=True)
class Verdict:
    """`unwanted`: one of the pictures is to blame, or the size of the batch, and the others may go on.

    Otherwise nothing is sent for a while, `retry_after` seconds at least where the Loop said so. `guilty`: the pictures may
    be the cause. `broke_off`: no answer came, so smaller batches may get through.
    """

    unwanted: bool = False
    guilty: bool = False
    broke_off: bool = False
    retry_after: float | None = None


def verdict(error: LoopError) -> Verdict:
    """What to make of an error."""
    if error.status in CONTENT and isinstance(error, LoopRefused | AlreadyInLoop):
        return Verdict(unwanted=True)
    if isinstance(error, LoopBusy):
        return Verdict(guilty=error.status not in NOT_OUR_FAULT, retry_after=error.retry_after)
    if isinstance(error, LoopUnreachable):
        return Verdict(guilty=True, broke_off=True)
    return Verdict(guilty=not isinstance(error, LoginFailed | NotInLoop))
