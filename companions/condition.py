"""How a companion is, as people are told: one sentence, and what is wrong with the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from companions.connection import Connection

Severity = Literal["good", "notice", "warning", "error"]

_WORSE: tuple[Severity, ...] = ("good", "notice", "warning", "error")


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong, or should be known; `way_out` says what to do about it."""

    severity: Severity
    reason: str
    way_out: str = ""


@dataclass(frozen=True)
class Condition:
    """The sentence, and the troubles beside it."""

    sentence: str
    troubles: tuple[Trouble, ...] = ()

    @property
    def severity(self) -> Severity:
        """That of the worst trouble."""
        return worst(trouble.severity for trouble in self.troubles)


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of them; of none: good."""
    return max(severities, key=_WORSE.index, default="good")


def of_connection(connection: Connection) -> tuple[Trouble, ...]:
    """What is wrong with the connection to the Loop; none where it stands."""
    if connection.is_connected:
        return ()
    words = f"{connection.words[:1].upper()}{connection.words[1:]}"
    if connection.client is None:
        return (Trouble("notice", f"{words}.", "Start it with --loop HOST, or set LOOP_HOST."),)
    if not connection.is_on:
        return (Trouble("notice", f"{words}.", "It was switched off: PUT /socketio with the body on, or a new start."),)
    return (Trouble("warning", words, "It is tried again by itself."),)
