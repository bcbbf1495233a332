"""Goals, and whether what was measured meets them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RELATIONS: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge}


@dataclass(frozen=True)
class Goal:
    """One line of the table: `measured` shall stand in `relation` (≤ or ≥) to `limit`; NaN meets nothing."""

    what: str
    measured: float
    relation: str
    limit: float
    unit: str = "x"
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return RELATIONS[self.relation](self.measured, self.limit)

    def row(self) -> str:
        """The goal as a line of a Markdown table."""
        measured, limit = f"{_short(self.measured)} {self.unit}".strip(), f"{_short(self.limit)} {self.unit}".strip()
        verdict = "met" if self.met else "**not met**"
        return f"| {self.what} | {self.relation} {limit} | {measured} | {verdict} | {self.detail} |"

    def as_json(self) -> dict[str, Any]:
        """The goal as an object."""
        return {
            "what": self.what,
            "measured": self.measured,
            "relation": self.relation,
            "limit": self.limit,
            "unit": self.unit,
            "met": self.met,
            "detail": self.detail,
        }


def table(goals: list[Goal]) -> str:
    """All goals as a Markdown table."""
    head = "| goal | limit | measured | | detail |\n|---|---|---|---|---|"
    return "\n".join([head, *(goal.row() for goal in goals)])


def _short(number: float) -> str:
    if 0 < abs(number) < 0.01:
        return f"{number:.2g}"
    return f"{number:.0f}" if number == round(number) or abs(number) >= 100 else f"{number:.2f}"
