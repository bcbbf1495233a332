"""What people are told of a trainer, from what it knows."""

from __future__ import annotations

import pytest

from models.wire.training import TrainingDetails
from trainer_companion import view
from trainer_companion.progress import Best, Confusion, Progress, Started
from trainer_companion.run_state import LastRun, Run
from trainer_companion.running import Watched
from trainer_companion.stages import STAGES, State
from ui.kit.marks import Mark

DETAILS = TrainingDetails.model_validate(
    {"categories": [], "hyperparameters": {}, "training_number": 7, "model_variant": "small"}
)


def run(state: State = "train_model_downloaded", **more: object) -> Run:
    made = Run(id="r", organization="acme", project="bolts", details=DETAILS, state=state, started=0.0)
    return made.model_copy(update=more)


def said(share: float, loss: float | None = None, map50: float | None = None, **more: float) -> Progress:
    return Progress.model_validate(
        {"share": share, "epoch": round(10 * share), "step": 0, "loss": loss, "map50": map50, **more}
    )


def test_a_curve_is_even_over_the_training_and_has_no_holes() -> None:
    curve = view.curve([said(0.0, 4.0), said(0.1, 3.0, 0.2), said(0.2), said(0.4, 1.0, 0.8)])
    assert len(curve.loss) == 4
    assert curve.loss[0] == 4.0
    assert curve.loss[-1] == 1.0
    assert curve.map50[0] is None, "nothing was measured at the beginning"
    assert curve.map50[1:] == pytest.approx((20 + 60 / 9, 20 + 60 * 5 / 9, 80.0))
    assert (curve.begin, curve.end) == ("epoch 0", "epoch 4")


def test_a_long_curve_is_thinned_and_keeps_both_ends() -> None:
    curve = view.curve([said(number / 1999, float(number)) for number in range(2000)])
    assert len(curve.loss) == view.POINTS
    assert (curve.loss[0], curve.loss[-1]) == (0.0, 1999.0)
    assert set(curve.map50) == {None}
    assert view.curve([]).loss == ()
    assert view.curve([said(0.5, 1.0)]).loss == (1.0,)


@pytest.mark.parametrize(
    ("state", "during", "failing", "words"),
    [
        ("initialized", "data_downloading", {}, "downloading pictures and annotations"),
        ("train_model_downloaded", "running", {}, "training"),
        ("train_model_downloaded", "waiting_for_slot", {}, "waiting until another trainer of this machine is done"),
        ("initialized", "initialized", {"prepare": "no answer"}, "waiting a while before trying again: downloading"),
        ("ready_for_cleanup", "ready_for_cleanup", {}, "cleaning up"),
    ],
)
def test_what_happens_now(state: State, during: str, failing: dict[str, str], words: str) -> None:
    assert view.doing(run(state), during, failing).startswith(words)


def test_who_stopped_it_sees_that_it_stops() -> None:
    assert view.doing(run(stopping=True), "running", {}).startswith("stopping")


def test_one_sentence_says_what_is_so() -> None:
    last = LastRun(organization="acme", project="bolts", training_number=6, ended=0, outcome="finished", map50=0.91234)
    assert view.sentence(run(), None, "running", "training", 0.4, "") == ("Training 7 of acme/bolts: training, 40%")
    assert "held by pid 4711" in view.sentence(None, last, "blocked", "", None, "pid 4711")
    assert "training 6 of acme/bolts, is finished (mAP50 0.912)" in view.sentence(None, last, "idle", "", None, "")
    aborted = last.model_copy(update={"outcome": "aborted"})
    assert view.sentence(None, aborted, "idle", "", None, "").endswith("was aborted.")


def test_what_failed_says_whether_it_is_tried_again() -> None:
    again, final = view.troubles({"prepare": "no answer"}, {"run_training": "No boxes."}, active=False)[::-1]
    assert (again.severity, again.way_out) == ("warning", view.TRIED_AGAIN)
    assert "no answer" in again.reason
    assert final.severity == "error"
    assert final.way_out.startswith("No boxes.")
    assert "begin another one" in final.way_out


def test_only_numbers_that_are_known_are_shown() -> None:
    assert view.numbers(run(), Watched(), 0.0) == ()
    best = Best(epoch=9, map50=0.9131, map=0.61, conf_threshold=0.47, confusion_matrix={}, bundle="b")
    trained = run(best=best, train_images=12340, test_images=85, skipped_image_count=3, skipped_annotations=2)
    watched = Watched(
        started=Started(
            architecture="edge", device="H200", train_images=1, val_images=1, test_images=1, batch_size=8, processes=4
        ),
        progress=said(0.4, images_per_second=811.7, gpu_memory_gb=11.26),
    )
    shown = {name: (value, hint) for name, value, hint in view.numbers(trained, watched, 24.0)}
    assert shown["Best mAP50"] == ("0.913", "mAP 0.610, epoch 9")
    assert shown["Confidence"][0] == "0.47"
    assert shown["Pictures"] == ("12\u202f340", "and 85 held out")
    assert shown["Left out"] == ("3", "pictures that cannot be read; 2 annotations")
    assert shown["Rate"][0] == "812 /s"
    assert shown["Graphics memory"] == ("11.3 GiB", "of 24 GiB that may be used")
    assert {name: hint for name, _, hint in view.numbers(trained, watched, 0.0)}["Graphics memory"] == "H200"


def test_what_classifies_pictures_has_an_accuracy_where_others_have_map50() -> None:
    best = Best(epoch=9, accuracy=0.9131, conf_threshold=0.47, confusion_matrix={}, bundle="b")
    shown = {name: (value, hint) for name, value, hint in view.numbers(run(best=best), Watched(), 0.0)}
    assert shown["Best accuracy"] == ("0.913", "epoch 9")
    assert not any("mAP" in name + hint for name, (_, hint) in shown.items())
    curve = view.curve([said(0.0, 4.0), said(0.1, 3.0, accuracy=0.2), said(0.2, accuracy=0.9)])
    assert curve.accuracy[1:] == pytest.approx((20, 90))
    assert set(curve.map50) == {None}
    assert view.curve([said(0.0, 4.0, 0.5)]).accuracy == ()
    last = LastRun(organization="acme", project="bolts", training_number=6, ended=0, outcome="finished", accuracy=0.9)
    assert "is finished (accuracy 0.900)" in view.sentence(None, last, "idle", "", None, "")
    marks = (Mark("rusty", 0.9),)
    assert view.Shown("", 1, 1, marks, 1, "clean").words == "People say clean"
    assert view.Shown("", 1, 1, marks, 2).words == "1 found, 2 marked by people"


def test_categories_have_their_names_and_shares() -> None:
    rows = view.rows({"id-2": Confusion(tp=3, fp=1, fn=3), "id-1": Confusion()}, {"id-1": "nut", "id-2": "bolt"})
    assert [row.words for row in rows] == [("bolt", "3", "1", "3", "75%", "50%"), ("nut", "0", "0", "0", "-", "-")]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (3, "about 10 s left"),
        (62, "about 60 s left"),
        (600, "about 10 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_how_long_it_takes_is_told_roughly(seconds: float | None, words: str) -> None:
    assert view.left(seconds) == words


def test_every_stage_has_a_word() -> None:
    assert len(view.STEPS) == len(STAGES)
    assert {stage.during for stage in STAGES} <= set(view.DOING)
    assert {stage.key for stage in STAGES} <= set(view.FAILED)
    assert [view.step_of(run(stage.begins)) for stage in STAGES] == list(range(len(view.STEPS)))
    assert view.step_of(run("ready_for_cleanup")) == len(view.STEPS)
