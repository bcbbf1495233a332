"""What people see of how a training learns: bounded, whole, and still there after a restart."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from models.files import FILE_SYSTEM
from trainer_companion import learning_curve
from trainer_companion.learning_curve import LearningCurve, thinned
from trainer_companion.progress import Progress


def said(share: float, loss: float | None = None, map50: float | None = None) -> Progress:
    return Progress(share=share, epoch=round(100 * share), step=0, loss=loss, map50=map50)


def told(curve: LearningCurve, *points: Progress) -> LearningCurve:
    for point in points:
        curve.add(point)
        curve.keep(point)
    return curve


def test_it_is_taken_up_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / learning_curve.FILE
    first = told(LearningCurve(path), said(0.1, 3.0), said(0.2, 2.0, 0.4), said(0.2, None, 0.5))
    second = LearningCurve(path)
    second.load()
    assert second.points == first.points
    told(second, said(0.3, 1.0))
    third = LearningCurve(path)
    third.load()
    assert [(point.share, point.loss, point.map50) for point in third.points] == [
        (0.1, 3.0, None),
        (0.2, 2.0, 0.4),
        (0.2, None, 0.5),
        (0.3, 1.0, None),
    ]


def test_what_is_trained_once_more_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / learning_curve.FILE
    curve = told(LearningCurve(path), said(0.1, 3.0), said(0.2, 2.0), said(0.3, 9.0), said(0.15, 2.5), said(0.25, 1.5))
    again = LearningCurve(path)
    again.load()
    for each in (curve, again):
        assert [(point.share, point.loss) for point in each.points] == [(0.1, 3.0), (0.15, 2.5), (0.25, 1.5)]


@pytest.mark.parametrize("tail", [b'{"event": "progress", "share": 0.3, "ep', b"\xff\xfe\n", b"[]\n", b"\n\n"])
def test_half_a_line_costs_itself_alone(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / learning_curve.FILE
    told(LearningCurve(path), said(0.1, 3.0))
    with path.open("ab") as file:
        file.write(tail)
    curve = LearningCurve(path)
    curve.load()
    told(curve, said(0.2, 2.0))
    again = LearningCurve(path)
    again.load()
    assert [point.share for point in again.points] == [0.1, 0.2]


def test_a_long_one_is_thinned_evenly_in_memory_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_curve, "MOST_POINTS", 40)
    monkeypatch.setattr(learning_curve, "MOST_LINES", 80)
    path = tmp_path / learning_curve.FILE
    curve = LearningCurve(path)
    count = 500
    most = 0
    for number in range(count):
        told(curve, said(number / count, 5.0 - number / count, 0.5 if number % 20 == 0 else None))
        most = max(most, len(curve))
    assert 20 <= len(curve) <= most <= 40
    assert len(path.read_text().splitlines()) <= 80
    assert (curve.points[0].share, curve.points[-1].share) == (0.0, (count - 1) / count)
    gaps = [later.share - earlier.share for earlier, later in itertools.pairwise(curve.points)]
    assert max(gaps) < 0.2, "no stretch of the training is missing"
    assert sum(point.map50 is not None for point in curve.points) >= 10, "what was measured is not lost"
    again = LearningCurve(path)
    again.load()
    assert len(again) <= 40
    assert again.points[-1] == curve.points[-1]


def test_of_a_stretch_the_last_stays_with_what_it_does_not_know() -> None:
    points = [said(0.0, 4.0), said(0.1, 3.0, 0.2), said(0.2, None), said(0.3, 2.0), said(0.4, 1.0, 0.6)]
    kept = [(point.share, point.loss, point.map50) for point in thinned(points, 3)]
    assert kept == [(0.0, 4.0, None), (0.1, 3.0, 0.2), (0.4, 1.0, 0.6)]
    assert thinned(points, 50) == tuple(points)
    assert thinned(points[:1], 3) == tuple(points[:1])
    stuck = [said(0.5, 1.0), said(0.5, 2.0), said(0.5, None, 0.1)]
    assert [(point.loss, point.map50) for point in thinned(stuck, 3)] == [(1.0, None), (2.0, 0.1)]


def test_a_disk_that_refuses_costs_nothing_else(tmp_path: Path) -> None:
    curve = told(LearningCurve(tmp_path / "missing" / "folder" / learning_curve.FILE, FILE_SYSTEM), said(0.1, 3.0))
    assert len(curve) == 1
    curve.load()
    assert len(told(LearningCurve(), said(0.1), said(0.2))) == 2, "it needs no file"
