"""Comparing models that classify whole pictures: which class is the surest, how sure, and how often rightly. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from converter_companion.truth import Truth

Classes = Mapping[str, float]
"""Name of a category -> its confidence, 0..1, in one picture."""


@dataclass
class Drift:
    """What is collected over all pictures. `scores`: differences of the confidence in what the source is surest of."""

    pictures: int = 0
    same_best: int = 0
    scores: list[float] = field(default_factory=list)

    def add(self, before: Classes, after: Classes) -> None:
        """One picture, as the source sees it and as the result does. A picture in which the source sees nothing is none."""
        surest = best(before)
        if surest is None:
            return
        self.pictures += 1
        self.same_best += best(after) == surest
        self.scores.append(abs(before[surest] - after.get(surest, 0.0)))


def best(classes: Classes) -> str | None:
    """The surest; None of none."""
    return max(classes, key=lambda name: classes[name], default=None)


def accuracy(truth: Truth, seen: Mapping[str, Classes]) -> float:
    """Share of the annotated pictures whose surest class people named too, 0..1; NaN where none is annotated."""
    judged = [
        best(classes) in truth[name].names for name, classes in seen.items() if name in truth and truth[name].names
    ]
    return sum(judged) / len(judged) if judged else math.nan


def sure(all_classes: Iterable[Classes], threshold: float) -> int:
    """How many classes reach the threshold, over all pictures."""
    return sum(score >= threshold for classes in all_classes for score in classes.values())
