"""How long to wait before the next try. Pure."""

from __future__ import annotations

from models.errors import LoopBusy

LONGEST_ASKED = 3600.0
"""Seconds for which a Loop may ask to be left alone."""


def pause(failures: int, *, first: float, cap: float, chance: float = 0.5, spread: float = 0.2) -> float:
    """Seconds: `first` after the first failure in a row, doubling up to `cap`; `chance` (0..1) moves it by ± `spread`.

    Never longer than `cap`. Chance keeps a hundred boxes that lost their Loop together from coming back together.
    """
    doubled = first * 2.0 ** min(max(failures - 1, 0), 32)
    return min(min(doubled, cap) * (1.0 + spread * (2.0 * chance - 1.0)), cap)


def pause_after(error: Exception, failures: int, *, first: float, cap: float, chance: float) -> float:
    """The same after this error, or longer if the Loop asked for that: seconds."""
    asked = error.retry_after if isinstance(error, LoopBusy) and error.retry_after else 0.0
    return max(pause(failures, first=first, cap=cap, chance=chance), min(asked, LONGEST_ASKED))
