"""What deciding costs whether a picture is worth a look: boxes against what a camera remembers, in this process."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator

from appliance.relevance import RelevanceFilter
from models.wire.detections import BoxDetection, Detections
from tests.bench.goals import Goal
from tests.bench.incidents import Incident
from tests.bench.measures import percentile

BOXES = 200
REMEMBERED = 1000
WIDTH, HEIGHT = 1920, 1080
SIZES = {"small things": (20, 80), "things of every size": (20, 600)}
"""Sides of the boxes in pixels, from and to. The larger, the more of them lie in each other's way."""

GOALS = {10: 1.0, 1: 5.0}
"""Milliseconds by number of categories."""


def measure(decisions: int) -> Incident:
    """Median CPU time of `decisions` decisions, each about a picture in which much is new and some was seen before.

    On a machine that does nothing else that is the time that passes.
    """
    incident = Incident([])
    for categories, limit in GOALS.items():
        for size, sides in SIZES.items():
            took = [1e3 * seconds for seconds in _decide(decisions, categories, sides)]
            what = f"relevance: {BOXES} boxes, {REMEMBERED} remembered, {_categories(categories)}, {size}"
            detail = f"CPU time; 99 % within {percentile(took, 99):.2f} ms, {decisions} decisions"
            incident.goals.append(Goal(what, statistics.median(took), "≤", limit, "ms", detail))
            incident.details[what] = {"p50_ms": statistics.median(took), "p99_ms": percentile(took, 99)}
    return incident


def _categories(number: int) -> str:
    return f"{number} categories" if number > 1 else "1 category"


def _decide(decisions: int, categories: int, sides: tuple[int, int]) -> Iterator[float]:
    """CPU seconds of each decision; checks that as much is remembered as it says."""
    chance = random.Random(categories)
    relevance = RelevanceFilter(0.3, 0.6, time.monotonic, max_observations=REMEMBERED)
    for _ in range(100):
        relevance.reasons("camera", _scene(chance, categories, sides))
    for _ in range(decisions):
        if relevance.remembered()["camera"] < REMEMBERED:
            raise RuntimeError("The camera remembers less than it should: nothing would be measured.")
        scene = _scene(chance, categories, sides)
        began = time.thread_time()
        relevance.reasons("camera", scene)
        yield time.thread_time() - began


def _scene(chance: random.Random, categories: int, sides: tuple[int, int]) -> Detections:
    return Detections(
        box_detections=[
            BoxDetection(
                category_name=f"category {number % categories}",
                x=chance.randrange(WIDTH),
                y=chance.randrange(HEIGHT),
                width=chance.randrange(*sides),
                height=chance.randrange(*sides),
                confidence=0.5,
            )
            for number in range(BOXES)
        ]
    )
