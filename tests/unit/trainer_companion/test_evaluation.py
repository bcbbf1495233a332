"""mAP, confidence and right and wrong by category, from detections that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from networks.base import Network, input_spec
from tests.support.coco_folders import write_classified, write_squares
from trainer_companion import dataset
from trainer_companion.evaluation import Evaluation, Found, Truth, best_threshold, decode, evaluate, judge, judge_whole
from trainer_companion.pixels import open_store
from trainer_companion.team import Team

A, B = [10.0, 10.0, 30.0, 30.0], [50.0, 50.0, 90.0, 80.0]


def found(*detections: tuple[list[float], int, float]) -> Found:
    boxes, classes, scores = zip(*detections, strict=True) if detections else ((), (), ())
    return Found(np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64), np.array(scores, np.float32))


def truth(*things: tuple[list[float], int]) -> Truth:
    return (
        np.array([box for box, _ in things], np.float32).reshape(-1, 4),
        np.array([kind for _, kind in things], np.int64),
    )


def test_what_is_found_perfectly_is_worth_one() -> None:
    measured = judge([found((A, 0, 0.9), (B, 1, 0.8))], [truth((A, 0), (B, 1))], 2, 100, 100)
    assert measured.map50 == pytest.approx(1.0)
    assert measured.map == pytest.approx(1.0)
    assert [(each.tp, each.fp, each.fn) for each in measured.confusion] == [(1, 0, 0), (1, 0, 0)]
    assert measured.f1 == 1.0


def test_right_wrong_and_missed_are_counted_by_category() -> None:
    pictures = [
        found((A, 0, 0.9), (B, 0, 0.85), ([12.0, 11.0, 31.0, 31.0], 0, 0.8)),  # right, wrong class, the same again
        found(),  # nothing of two
    ]
    measured = judge(pictures, [truth((A, 0), (B, 1)), truth((A, 0), (B, 1))], 2, 100, 100)
    assert measured.conf_threshold > 0.8  # everything below the right one is wrong
    at = judge([found((A, 0, 0.9), (B, 0, 0.9))], [truth((A, 0), (B, 1))], 2, 100, 100)
    assert [(each.tp, each.fp, each.fn) for each in at.confusion] == [(1, 1, 0), (0, 0, 1)]


def test_a_box_beside_the_thing_is_wrong_at_half_an_overlap() -> None:
    beside = [21.0, 10.0, 41.0, 30.0]  # IoU 0.29
    measured = judge([found((beside, 0, 0.9))], [truth((A, 0))], 1, 100, 100)
    assert measured.map50 == 0.0
    near = [14.0, 10.0, 34.0, 30.0]  # IoU 0.67
    measured = judge([found((near, 0, 0.9))], [truth((A, 0))], 1, 100, 100)
    assert measured.map50 == pytest.approx(1.0)
    assert measured.map == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("pictures", "things"),
    [
        pytest.param([found()], [truth((A, 0))], id="nothing found"),
        pytest.param([found((A, 0, 0.9))], [truth()], id="nothing there"),
        pytest.param([found()], [truth()], id="neither"),
        pytest.param([], [], id="no pictures"),
    ],
)
def test_where_there_is_nothing_all_is_zero_and_finite(pictures: list[Found], things: list[Truth]) -> None:
    measured = judge(pictures, things, 2, 100, 100)
    assert measured.map50 == measured.map == 0.0
    assert 0 < measured.conf_threshold < 1
    assert len(measured.confusion) == 2


def test_the_best_confidence_has_the_highest_f1() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1], np.float32)
    right = np.array([True, True, True, False, False, False])
    threshold, f1 = best_threshold(scores, right, 3)
    assert 0.3 < threshold <= 0.7
    assert f1 == 1.0


# ── classes of whole pictures ───────────────────────────────────────────────────────────────────────────────────────


def classified(*scores: float) -> Found:
    """A picture with these scores of its classes, one after the other, as the device's head gives them."""
    values = np.array(scores, np.float32)
    order = np.argsort(-values, kind="stable")
    return Found(None, order.astype(np.int64), values[order])


def test_pictures_whose_surest_class_is_right_make_the_accuracy() -> None:
    seen = [
        classified(0.9, 0.06, 0.04),
        classified(0.2, 0.7, 0.1),
        classified(0.5, 0.4, 0.1),
        classified(0.1, 0.3, 0.6),
    ]
    measured = judge_whole(seen, [0, 1, 1, 2], 3)
    assert measured.accuracy == 0.75
    assert measured.sureness == pytest.approx((0.9 + 0.7 + 0.0 + 0.6) / 4)
    assert (measured.map50, measured.map) == (0.0, 0.0)


def test_the_best_confidence_is_one_at_which_right_classes_are_answered_and_no_others() -> None:
    seen = [classified(0.9, 0.06, 0.04), classified(0.3, 0.6, 0.1), classified(0.455, 0.3, 0.245)]
    measured = judge_whole(seen, [0, 1, 2], 3)
    assert 0.45 < measured.conf_threshold <= 0.6, "the third picture is doubtful, and nothing is said of it"
    assert [(each.tp, each.fp, each.fn) for each in measured.confusion] == [(1, 0, 0), (1, 0, 0), (0, 0, 1)]
    assert measured.f1 == pytest.approx(0.8)


def test_a_wrong_class_is_wrong_for_itself_and_missed_for_the_right_one() -> None:
    measured = judge_whole([classified(0.96, 0.04)] * 3, [0, 0, 1], 2)
    assert [(each.tp, each.fp, each.fn) for each in measured.confusion] == [(2, 1, 0), (0, 0, 1)]


def test_of_two_models_with_the_same_accuracy_the_surer_one_is_better() -> None:
    right = [judge_whole([classified(score, 1 - score)], [0], 2) for score in (0.6, 0.9)]
    assert [each.accuracy for each in right] == [1.0, 1.0]
    assert right[1].rank > right[0].rank
    assert right[0].rank > judge_whole([classified(0.1, 0.9)], [0], 2).rank
    assert Evaluation(0.4, 0.9, 0.5, 0.5, ()).rank > Evaluation(0.3, 1.0, 0.5, 0.5, ()).rank, "mAP50 counts first"


def test_without_pictures_a_classifier_is_worth_nothing() -> None:
    measured = judge_whole([], [], 2)
    assert measured.accuracy == 0.0
    assert 0 < measured.conf_threshold < 1
    assert len(measured.confusion) == 2


class Tinted(Network):
    """Says which of red, green and blue a picture has most of, without having learnt anything."""

    head = "classification"
    output_names = ("scores",)

    def __init__(self) -> None:
        super().__init__()
        self.input = input_spec(64, 64)
        self.class_count = 3

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.softmax(200 * (pictures.mean((2, 3)) - pictures.mean((1, 2, 3))[:, None]), 1),)


def test_a_classifier_is_judged_on_pictures_and_damaged_ones_do_not_count(tmp_path: Path) -> None:
    folder = write_classified(tmp_path / "set", 24, names=("red", "green", "blue"))
    pictures = dataset.read(folder, learns="pictures").pictures
    pictures[5].path.write_bytes(b"")
    store = open_store(pictures, 64, 64, tmp_path / "pixels", Team())
    measured = evaluate(Tinted(), store, pictures, Team(), torch.device("cpu"), batch_size=5)
    assert measured.accuracy == 1.0
    assert sum(each.tp + each.fn for each in measured.confusion) == 23
    assert measured.judged.judgement == "accuracy 1.000"


# ── networks ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Painted(Network):
    """Finds every red or blue cell of 8 pixels, without having learnt anything."""

    head = "anchor_free"
    output_names = ("distances", "scores")

    def __init__(self) -> None:
        super().__init__()
        self.input = input_spec(64, 64)
        self.class_count = 2

    @property
    def head_options(self) -> dict[str, object]:
        return {"strides": [8]}

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cells = torch.nn.functional.avg_pool2d(pictures, 8)
        red, blue = cells[:, 0] - cells[:, 2], cells[:, 2] - cells[:, 0]
        scores = torch.stack([red, blue], -1).clamp(0, 1).flatten(1, 2)
        return torch.ones(len(pictures), 64, 4), scores


def test_detections_are_decoded_as_on_the_device(tmp_path: Path) -> None:
    network = Painted()
    outputs = [output.numpy() for output in network(torch.zeros(1, 3, 64, 64))]
    outputs[1][0, 9, 1] = 0.8  # second row, second cell: centre 12, 12
    seen = decode(network, outputs)
    assert seen.boxes is not None
    assert seen.boxes.tolist() == [[4, 4, 20, 20]]
    assert seen.classes.tolist() == [1]
    assert seen.scores.tolist() == [pytest.approx(0.8)]


def test_a_network_is_judged_on_pictures_and_damaged_ones_do_not_count(tmp_path: Path) -> None:
    pictures = dataset.read(write_squares(tmp_path / "set", 24)).pictures
    pictures[5].path.write_bytes(b"")
    store = open_store(pictures, 64, 64, tmp_path / "pixels", Team())
    measured = evaluate(Painted(), store, pictures, Team(), torch.device("cpu"), batch_size=5)
    things = sum(len(picture.boxes) for index, picture in enumerate(pictures) if index != 5)
    assert sum(each.tp + each.fn for each in measured.confusion) == things
    assert measured.map50 > 0.0
