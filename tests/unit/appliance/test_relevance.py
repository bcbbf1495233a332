"""The rules of autoupload `filtered`, each as a user would meet it, and against a plain reference."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.relevance import RelevanceFilter
from models.wire.detections import (
    BoxDetection,
    ClassificationDetection,
    Detections,
    PointDetection,
    SegmentationDetection,
)

HOUR = 3600.0


@dataclass
class Clock:
    """Seconds, moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Reference:
    """One camera's history, written as plainly as the protocol tells it: one detection after another."""

    clock: Clock
    seen: list[tuple[BoxDetection | PointDetection, float]] = field(default_factory=list)

    def reasons(self, detections: Detections) -> list[str]:
        now = self.clock()
        self.seen = [(other, last_seen) for other, last_seen in self.seen if last_seen >= now - HOUR]
        reasons = set()
        located: list[BoxDetection | PointDetection] = [*detections.box_detections, *detections.point_detections]
        for detection in located:
            similar = [index for index, (other, _) in enumerate(self.seen) if similar_to(detection, other)]
            for index in similar:
                self.seen[index] = (self.seen[index][0], now)
            if not similar:
                self.seen.append((detection, now))
                if 0.3 <= detection.confidence <= 0.6:
                    reasons.add("uncertain")
        if any(0.3 <= detection.confidence <= 0.6 for detection in detections.classification_detections):
            reasons.add("uncertain")
        if detections.segmentation_detections:
            reasons.add("segmentation_detection")
        if len(detections) >= 80:
            reasons.add("unexpected_observations_count")
        return sorted(reasons)


def similar_to(one: BoxDetection | PointDetection, other: BoxDetection | PointDetection) -> bool:
    if one.category_name != other.category_name:
        return False
    if isinstance(one, PointDetection) and isinstance(other, PointDetection):
        return math.sqrt((one.x - other.x) ** 2 + (one.y - other.y) ** 2) < 10
    return isinstance(one, BoxDetection) and isinstance(other, BoxDetection) and overlap(one, other) >= 0.5


def overlap(one: BoxDetection, other: BoxDetection) -> float:
    """Intersection over union, 0..1; 0 where there is no union."""
    width = max(0, min(one.x + one.width, other.x + other.width) - max(one.x, other.x))
    height = max(0, min(one.y + one.height, other.y + other.height) - max(one.y, other.y))
    union = one.width * one.height + other.width * other.height - width * height
    return width * height / union if union else 0.0


def box(
    x: int = 10, y: int = 10, width: int = 20, height: int = 20, *, name: str = "cup", sure: float = 0.5
) -> BoxDetection:
    return BoxDetection(category_name=name, x=x, y=y, width=width, height=height, confidence=sure)


def point(x: float, y: float = 0.0, *, name: str = "screw", sure: float = 0.5) -> PointDetection:
    return PointDetection(category_name=name, x=x, y=y, confidence=sure)


def picture(*found: BoxDetection | PointDetection) -> Detections:
    return Detections(
        box_detections=[each for each in found if isinstance(each, BoxDetection)],
        point_detections=[each for each in found if isinstance(each, PointDetection)],
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def relevance(clock: Clock) -> RelevanceFilter:
    return RelevanceFilter(0.3, 0.6, clock)


def test_an_uncertain_cup_is_sent_once_an_hour_while_it_stays_away(relevance: RelevanceFilter, clock: Clock) -> None:
    assert relevance.reasons("front", picture(box())) == ["uncertain"]
    assert relevance.reasons("front", picture(box())) == []
    clock.now += HOUR
    assert relevance.reasons("front", picture(box())) == [], "an hour to the second is not yet longer ago than an hour"
    clock.now += HOUR + 0.001
    assert relevance.reasons("front", picture(box())) == ["uncertain"]


def test_a_cup_that_stays_in_view_is_not_sent_again(relevance: RelevanceFilter, clock: Clock) -> None:
    assert relevance.reasons("front", picture(box())) == ["uncertain"]
    for _ in range(10):
        clock.now += HOUR * 0.9
        assert relevance.reasons("front", picture(box())) == []


def test_a_cup_that_was_certain_at_first_is_known_when_it_becomes_uncertain(relevance: RelevanceFilter) -> None:
    assert relevance.reasons("front", picture(box(sure=0.95))) == []
    assert relevance.reasons("front", picture(box(sure=0.4))) == []


@pytest.mark.parametrize(
    ("label", "second", "is_new"),
    [
        ("another category", box(name="dog"), True),
        ("elsewhere", box(x=200), True),
        ("overlap of exactly one half", box(width=40), False),
        ("overlap just below one half", box(width=41), True),
        ("exactly one half of it", box(width=10), False),
        ("just below one half of it", box(width=9), True),
        ("a box without extent", box(width=0), True),
        ("a point where the box is", point(20, 20, name="cup"), True),
    ],
)
def test_what_counts_as_the_same_box(
    relevance: RelevanceFilter, label: str, second: BoxDetection | PointDetection, is_new: bool
) -> None:
    relevance.reasons("front", picture(box()))
    assert bool(relevance.reasons("front", picture(second))) is is_new, label


@pytest.mark.parametrize(
    ("label", "second", "is_new"),
    [
        ("just below ten pixels", point(9.99), False),
        ("ten pixels", point(6, 8), True),
        ("absurdly far away", point(1e300, -1e300), True),
        ("another category", point(0, name="nut"), True),
    ],
)
def test_what_counts_as_the_same_point(
    relevance: RelevanceFilter, label: str, second: PointDetection, is_new: bool
) -> None:
    relevance.reasons("front", picture(point(0)))
    assert bool(relevance.reasons("front", picture(second))) is is_new, label


@pytest.mark.parametrize(
    ("confidence", "expected"), [(0.29, []), (0.3, ["uncertain"]), (0.6, ["uncertain"]), (0.61, [])]
)
def test_uncertain_means_between_the_two_thresholds_both_included(
    relevance: RelevanceFilter, confidence: float, expected: list[str]
) -> None:
    assert relevance.reasons("front", picture(box(sure=confidence))) == expected


def test_a_box_without_extent_never_hides_another(relevance: RelevanceFilter) -> None:
    upright, lying = box(x=20, y=10, width=0), box(x=10, y=20, height=0)
    for flat in (upright, lying, box(width=-30, height=-30, x=40, y=40)):
        assert relevance.reasons("front", picture(flat)) == ["uncertain"]
        assert relevance.reasons("front", picture(flat)) == ["uncertain"]
    assert relevance.reasons("front", picture(box())) == ["uncertain"]


def test_the_first_of_several_alike_in_one_picture_decides(clock: Clock) -> None:
    sure, unsure = box(sure=0.9), box(x=12, sure=0.5)
    assert RelevanceFilter(0.3, 0.6, clock).reasons("front", picture(sure, unsure)) == []
    assert RelevanceFilter(0.3, 0.6, clock).reasons("front", picture(unsure, sure)) == ["uncertain"]


def test_the_same_cup_is_new_to_every_camera(relevance: RelevanceFilter) -> None:
    assert relevance.reasons("front", picture(box())) == ["uncertain"]
    assert relevance.reasons("rear", picture(box())) == ["uncertain"]
    assert relevance.reasons("front", picture(box())) == []


def test_pictures_without_a_camera_share_a_history_that_forgets(relevance: RelevanceFilter, clock: Clock) -> None:
    assert relevance.reasons(None, picture(box())) == ["uncertain"]
    assert relevance.reasons(None, picture(box())) == []
    assert relevance.reasons("", picture(box())) == ["uncertain"], "an empty id is an id"
    clock.now += HOUR + 1
    assert relevance.reasons(None, picture(box())) == ["uncertain"]


def test_uncertain_classifications_and_segmentations_are_sent_every_time(relevance: RelevanceFilter) -> None:
    seen = Detections(
        classification_detections=[ClassificationDetection(category_name="sunny", confidence=0.5)],
        segmentation_detections=[SegmentationDetection(category_name="lane", shape="0,0,5,0,5,5", confidence=0.99)],
    )
    for _ in range(3):
        assert relevance.reasons("front", seen) == ["segmentation_detection", "uncertain"]
    certain = Detections(classification_detections=[ClassificationDetection(category_name="sunny", confidence=0.9)])
    assert relevance.reasons("front", certain) == []


def test_eighty_things_in_one_picture_are_suspicious(relevance: RelevanceFilter) -> None:
    crowd = [box(x=50 * index, sure=0.99) for index in range(80)]
    assert relevance.reasons("front", picture(*crowd[:79])) == []
    assert relevance.reasons("front", picture(*crowd)) == ["unexpected_observations_count"]
    assert relevance.reasons("front", picture(*crowd)) == ["unexpected_observations_count"]


def test_an_empty_picture_is_no_reason(relevance: RelevanceFilter) -> None:
    assert relevance.reasons("front", Detections()) == []


def test_the_camera_that_was_silent_longest_is_forgotten_first(clock: Clock) -> None:
    relevance = RelevanceFilter(0.3, 0.6, clock, max_cameras=2)
    for camera in ("front", "rear", "front", "left"):
        relevance.reasons(camera, picture(box()))
    assert relevance.reasons("front", picture(box())) == []
    assert relevance.reasons("rear", picture(box())) == ["uncertain"]


def test_a_stream_of_camera_ids_does_not_fill_the_memory(clock: Clock) -> None:
    relevance = RelevanceFilter(0.3, 0.6, clock, max_cameras=8)
    for index in range(500):
        relevance.reasons(f"{index}-{'x' * 10_000}", picture(box()))
    assert len(relevance.remembered()) == 8
    assert all(len(camera_id or "") <= 256 for camera_id in relevance.remembered())


def grown(act: Callable[[], object]) -> int:
    """Bytes that are in use after it and were not before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_any_number_of_camera_ids_costs_no_more_memory_than_are_remembered(clock: Clock) -> None:
    relevance = RelevanceFilter(0.3, 0.6, clock, max_cameras=1000)
    seen = picture(*(box(x=50 * index, name=f"thing {index}") for index in range(3)))

    def cameras(count: int) -> None:
        for index in range(count):
            relevance.reasons(f"camera {index}", seen if index % 20 == 0 else Detections())

    cameras(1000)
    assert grown(lambda: cameras(20_000)) < 4 << 20
    assert len(relevance.remembered()) == 1000


def test_cameras_that_know_much_push_out_each_other(clock: Clock) -> None:
    relevance = RelevanceFilter(0.3, 0.6, clock, max_observations=100, max_in_all=250)
    crowd = picture(*(box(x=50 * index) for index in range(100)))
    for camera in ("front", "rear", "front", "left"):
        relevance.reasons(camera, crowd)
    assert relevance.remembered() == {"front": 100, "left": 100}
    clock.now += HOUR + 1
    relevance.reasons("left", Detections())
    assert relevance.remembered() == {"front": 100, "left": 0}, "what is forgotten makes room"
    relevance.reasons("rear", crowd)
    assert relevance.remembered() == {"front": 100, "left": 0, "rear": 100}


def test_names_that_models_no_longer_use_are_forgotten_too(clock: Clock) -> None:
    relevance = RelevanceFilter(0.3, 0.6, clock, max_observations=10)

    def models_come_and_go() -> None:
        for index in range(1000):
            clock.now += 1
            new = box(name=f"{index} {'x' * 10_000}")
            assert relevance.reasons("front", picture(new, box(name="cup", sure=0.9))) == ["uncertain"]
            assert relevance.reasons("front", picture(new, box(name="cup"))) == []

    assert grown(models_come_and_go) < 3 << 20
    assert relevance.remembered()["front"] == 10


def test_what_was_not_seen_for_longest_is_forgotten_when_a_camera_knows_too_much(clock: Clock) -> None:
    relevance = RelevanceFilter(0.3, 0.6, clock, max_observations=100)
    things = [box(x=50 * index, name=f"thing {index % 7}") for index in range(300)]
    for start in range(0, 300, 10):
        clock.now += 1
        relevance.reasons("front", picture(*things[start : start + 10], things[0]))
        assert relevance.remembered()["front"] <= 100
    assert relevance.remembered()["front"] == 100
    assert relevance.reasons("front", picture(*things[-90:])) == ["unexpected_observations_count"]
    assert relevance.reasons("front", picture(things[0])) == [], "it was in view all the time"
    assert relevance.reasons("front", picture(things[150])) == ["uncertain"]


def test_one_picture_with_thousands_of_things_stays_within_the_bound(relevance: RelevanceFilter) -> None:
    everything = [box(x=50 * index) for index in range(3000)]
    assert relevance.reasons("front", picture(*everything)) == ["uncertain", "unexpected_observations_count"]
    assert relevance.remembered()["front"] == 1000


NAMES = ("cup", "dog", "screw")
GENES = 5
"""Numbers that a detection, or the beginning of a picture, is made of."""


def story_of(genes: bytes) -> list[tuple[str | None, float, Detections]]:
    """A sequence of pictures, each with its camera and the seconds since the one before.

    Everything lies on a coarse grid, so that overlaps of exactly one half and distances of exactly ten are common.
    """
    story: list[tuple[str | None, float, Detections]] = [(None, 0.0, Detections())]
    for start in range(0, len(genes) - GENES + 1, GENES):
        what, *numbers = genes[start : start + GENES]
        if what % 5 == 0:
            story.append(((None, "front", "rear")[numbers[0] % 3], STEPS[numbers[1] % len(STEPS)], Detections()))
        else:
            add(story[-1][2], what, *numbers)
    return story


STEPS = (0.0, 1.0, 1800.0, HOUR, HOUR + 0.5)


def add(to: Detections, what: int, one: int, two: int, three: int, four: int) -> None:
    """One more detection, or many."""
    name, sure = NAMES[three % 3], (four % 11) / 10
    if what % 5 < 3:
        place = (one % 12 * 5, one // 12 % 8 * 5, two % 5 * 5, two // 5 % 5 * 5)
        copies = 85 if what == 251 else 1
        to.box_detections += [box(*place, name=name, sure=sure)] * copies
    elif what % 5 == 3:
        to.point_detections.append(point(one % 30 * 2, two % 20 * 2, name=name, sure=sure))
    elif four % 8:
        to.classification_detections.append(ClassificationDetection(category_name=name, confidence=sure))
    else:
        to.segmentation_detections.append(SegmentationDetection(category_name=name, shape="0,0,5,5,0,5"))


LENGTH = 18 * GENES
AT_A_TIME = 50
EXAMPLES = 200


def test_equals_the_plain_reference_on_ten_thousand_random_sequences_of_pictures() -> None:
    told: Counter[tuple[str, ...]] = Counter()
    compared = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=AT_A_TIME * LENGTH, max_size=AT_A_TIME * LENGTH))
    def compare(genes_of_all: bytes) -> None:
        nonlocal compared
        for start in range(0, len(genes_of_all), LENGTH):
            genes = genes_of_all[start : start + LENGTH]
            compared += 1
            clock = Clock()
            relevance = RelevanceFilter(0.3, 0.6, clock, max_observations=100_000)
            references: dict[str | None, Reference] = {}
            for camera, step, detections in story_of(genes):
                clock.now += step
                expected = references.setdefault(camera, Reference(clock)).reasons(detections)
                assert relevance.reasons(camera, detections) == expected
                told[tuple(expected)] += 1

    compare()

    assert compared >= 10_000
    assert min(told[()], told["uncertain",], told["segmentation_detection",]) > 500, "each outcome was common"
    assert sum(count for reasons, count in told.items() if "unexpected_observations_count" in reasons) > 0


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_plain_reference_in_crowds_of_boxes_of_every_size(seed: int, clock: Clock) -> None:
    chance = random.Random(seed)
    largest = chance.choice([30, 200, 900])
    relevance, reference = RelevanceFilter(0.3, 0.6, clock, max_observations=100_000), Reference(clock)
    for _ in range(5):
        clock.now += 1200.0
        crowd = [
            box(
                chance.randrange(-50, 1000),
                chance.randrange(-50, 600),
                chance.randrange(largest),
                chance.randrange(largest),
                name=chance.choice(NAMES),
                sure=chance.choice([0.2, 0.2, 0.2, 0.2, 0.5]),
            )
            for _ in range(chance.choice([20, 75, 300]))
        ]
        dots = [point(chance.uniform(0, 300), chance.uniform(0, 300), sure=0.2) for _ in range(chance.choice([0, 70]))]
        detections = picture(*crowd, *dots)
        assert relevance.reasons("front", detections) == reference.reasons(detections)
        assert relevance.remembered()["front"] == len(reference.seen)
