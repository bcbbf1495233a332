"""Which output of a converted file is which: told by its numbers, because converters lose names and change the order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelFailed

MOST_OUTPUTS = 6
"""So many can be tried in every order."""

TOO_FAR = 0.25
"""Mean difference, relative to the spread of the output's values, beyond which two outputs are not the same."""

SMALLEST_SPREAD = 0.05
"""A network that knows nothing yet says the same everywhere; differences below this (strides, probabilities) are none."""

SHARE_OF_LARGEST = 0.1
"""Nor are those that are small beside the values: the steps of integers are even from zero to the largest."""

Outputs = Sequence[NDArray[np.float32]]


def match(names: Mapping[str, int], source: Sequence[Outputs], result: Sequence[Outputs]) -> dict[str, int]:
    """Name -> index in the result, given what both said of the same pictures (picture by picture, float32).

    `names`: name -> index in the source. Raises `ModelFailed` where no order fits: the result is another network.
    """
    if not source or len(source) != len(result):
        raise ModelFailed("Without pictures nobody can tell which output of the converted model is which.")
    count = len(result[0])
    if count != len(names) or count > MOST_OUTPUTS:
        raise ModelFailed(f"The converted model has {count} outputs; the source has {len(names)}: {', '.join(names)}.")
    ordered = sorted(names, key=lambda name: names[name])
    costs = np.array([[_cost(source, names[name], result, index) for index in range(count)] for name in ordered])
    best = min(
        permutations(range(count)), key=lambda order: float(sum(costs[row, index] for row, index in enumerate(order)))
    )
    far = [name for row, name in enumerate(ordered) if not costs[row, best[row]] <= TOO_FAR]
    if far:
        shapes = ", ".join(str(list(output.shape)) for output in result[0])
        raise ModelFailed(
            f"The converted model computes something else than its source: nothing that it puts out ({shapes}) is like "
            f"{' or '.join(far)} of the source."
        )
    return dict(zip(ordered, best, strict=True))


def _cost(source: Sequence[Outputs], ours: int, result: Sequence[Outputs], theirs: int) -> float:
    """How unlike two outputs are; infinite for another shape."""
    return max(difference(one[ours], other[theirs]) for one, other in zip(source, result, strict=True))


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean difference relative to the values' spread (their range without the outermost hundredth); inf if incomparable.

    Incomparable are other shapes, and values that are infinite or no numbers. Of values that hardly differ, their size counts
    instead (`SHARE_OF_LARGEST`).
    """
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("inf")
    low, high = np.quantile(one, [0.01, 0.99]) if one.size else (0.0, 0.0)
    spread = max(float(high - low), SHARE_OF_LARGEST * float(max(-low, high)), SMALLEST_SPREAD)
    return float(np.abs(one.astype(np.float64) - other).mean() / spread) if one.size else 0.0


def by_rank(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """An output (1, things, values) with each column in the order of its values: the same whatever the things' order."""
    return np.sort(output, axis=1) if output.ndim >= 2 else output
