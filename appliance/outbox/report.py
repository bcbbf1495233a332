"""How the outbox is, as REST, the command line and the dashboard tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from pydantic import BaseModel

from appliance.outbox import folders, reasons
from appliance.outbox.index import Entry
from appliance.outbox.queue import Outbox
from appliance.outbox.uploader import SendingState, SendingStatus
from models.wire.node_status import OutboxMode

STANDALONE = "No Learning Loop is configured: pictures are kept here, and sent to nobody. LOOP_HOST names one."


class Amount(BaseModel):
    """Pictures, and their bytes with metadata."""

    items: int = 0
    bytes: int = 0


class SendingReport(BaseModel):
    """How sending goes. `retry_at` is when the next try comes; `requests` may be under way at once."""

    state: SendingState | Literal["standalone"]
    explanation: str
    retry_at: str | None = None
    last_error: str | None = None
    last_error_at: str | None = None
    bytes_per_second: float = 0.0
    requests: int = 0


class OutboxReport(BaseModel):
    """What waits, what became of the rest since `since`, and how sending goes.

    `waiting` pictures have `bytes` together and lie in two queues; `automatic` counts those of all here that `/detect`
    picked by itself, which make room for uploads. `thinned`: automatic picks that made room; `refused`: uploads that found
    none; `vanished`: a person deleted the files; `deleted`: through this program. `picks` is what `/detect` wanted to keep
    since the start, and why it did not.
    """

    mode: OutboxMode
    loop: str | None
    waiting: int
    bytes: int
    oldest: str | None
    priority: Amount
    normal: Amount
    automatic: Amount
    rejected: Amount
    since: str
    sent: int
    sent_bytes: int
    rejected_so_far: int
    thinned: int
    refused: int
    vanished: int
    deleted: int
    picks: dict[str, Any]
    sending: SendingReport


class ItemReport(BaseModel):
    """One picture in a list. `reasons`: why it is here; `error`: the Loop's words on the last try."""

    id: str
    queue: folders.Folder
    bytes: int
    asked_for: bool
    reasons: list[str]
    tags: list[str]
    attempts: int
    error: str | None


def report(outbox: Outbox, sending: SendingStatus | None, loop: str | None, picks: Mapping[str, Any]) -> OutboxReport:
    """`sending` is None for a standalone box. Asks the index, so it blocks."""
    here, so_far = outbox.stats(), outbox.tallies()
    return OutboxReport(
        mode=outbox.mode,
        loop=loop,
        waiting=here.total.items,
        bytes=here.total.bytes,
        oldest=outbox.oldest(),
        priority=Amount(**asdict(here.priority)),
        normal=Amount(**asdict(here.normal)),
        automatic=Amount(**asdict(here.automatic)),
        rejected=Amount(**asdict(here.rejected)),
        since=outbox.began,
        sent=so_far["sent"],
        sent_bytes=so_far["sent_bytes"],
        rejected_so_far=so_far["rejected"],
        thinned=so_far["thinned"],
        refused=so_far["refused"],
        vanished=so_far["vanished"],
        deleted=so_far["deleted"],
        picks=dict(picks),
        sending=_in_words(sending),
    )


def item(entry: Entry) -> ItemReport:
    """One picture as lists show it."""
    return ItemReport(
        id=entry.id,
        queue=entry.folder,
        bytes=entry.bytes,
        asked_for=entry.asked_for,
        reasons=reasons.in_words(entry.tags),
        tags=list(entry.tags or ()),
        attempts=entry.attempts,
        error=entry.reason,
    )


def _in_words(status: SendingStatus | None) -> SendingReport:
    if status is None:
        return SendingReport(state="standalone", explanation=STANDALONE)
    retry_at = None
    if status.retry_in is not None:
        retry_at = (datetime.now(timezone.utc) + timedelta(seconds=status.retry_in)).isoformat(timespec="seconds")
    explanation = {
        "sending": "Pictures are being sent.",
        "idle": "Nothing waits.",
        "waiting": f"The next try comes in {status.retry_in or 0:.0f} s.",
        "stopped": "Sending is stopped; the mode continuous_upload starts it.",
        "paused": "Sending is paused until PUT /socketio on.",
    }[status.state]
    return SendingReport(
        state=status.state,
        explanation=explanation,
        retry_at=retry_at,
        last_error=status.last_error,
        last_error_at=status.last_error_at.isoformat(timespec="seconds") if status.last_error_at else None,
        bytes_per_second=round(status.bytes_per_second, 1),
        requests=status.requests,
    )
