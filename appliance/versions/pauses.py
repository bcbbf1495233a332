"""How long to wait before the next try. Pure."""

from __future__ import annotations


def pause(failures: int, *, first: float, cap: float, chance: float = 0.5, spread: float = 0.2) -> float:
    """Seconds: `first` after the first failure in a row, doubling up to `cap`; `chance` (0..1) moves it by ± `spread`.

    Never longer than `cap`. Chance keeps a hundred boxes that lost their Loop together from coming back together.
    """
    doubled = first * 2.0 ** min(max(failures - 1, 0), 32)
    return min(min(doubled, cap) * (1.0 + spread * (2.0 * chance - 1.0)), cap)
