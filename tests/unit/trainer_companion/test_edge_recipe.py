"""A training from its beginning to its end, in this process: what is learnt, said and kept, whatever goes wrong."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.bundle import open_bundle
from models.errors import BundleError, InvalidInput, ModelFailed
from models.load import load
from models.runtimes.base import Choice
from networks import bundles
from tests.support.coco_folders import write_squares
from tests.support.training_sessions import HeardSession, session, train
from trainer_companion import checkpoints, dataset, fitting, job, samples
from trainer_companion.edge_recipe import EdgeRecipe
from trainer_companion.losses import EdgeLearner
from trainer_companion.network_recipe import input_size
from trainer_companion.progress import Best, Progress, Started, Warned
from trainer_companion.team import Team


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "set", 48)


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[HeardSession, Any]:
    """A training of 14 epochs, which learns the squares well."""
    of = session(squares, tmp_path_factory.mktemp("trained"), epochs=14)
    return of, train(of)


def weights_of(folder: str | Path) -> dict[str, Tensor]:
    return bundles.state_of(open_bundle(Path(folder), verify_hashes=False))


# ── what comes out of it ────────────────────────────────────────────────────────────────────────────────────────────


def test_squares_are_learnt(trained: tuple[HeardSession, Any]) -> None:
    of, done = trained
    assert done.map50 > 0.8
    assert done.reason == "epochs"
    assert done.epochs == 14
    assert of.losses[-1] < 0.5 * of.losses[0]
    started = of.heard(Started)[0]
    assert (started.train_images, started.test_images, started.batch_size) == (36, 12, 6)
    shares = [event.share for event in of.heard(Progress)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_the_best_model_is_a_bundle_that_detects(
    trained: tuple[HeardSession, Any], squares: Path, tmp_path: Path
) -> None:
    of, done = trained
    best = of.heard(Best)[-1]
    assert best.bundle == done.bundle
    bundle = open_bundle(Path(done.bundle))
    assert bundle.model.conf_threshold == best.conf_threshold
    assert bundle.model.format == "appliance_pytorch"
    detector = load(bundle, Choice("torch", "cpu", 1), cache=tmp_path)
    document = json.loads((squares / "annotations.json").read_text())
    hits = things = 0
    for image in (image for image in document["images"] if image["split"] == "test"):
        answer = detector.detect((squares / "images" / image["file_name"]).read_bytes())
        seen = [d for d in answer.detections.box_detections if d.confidence >= best.conf_threshold]
        for thing in (each for each in document["annotations"] if each["image_id"] == image["id"]):
            name = ("red", "blue")[thing["category_id"] - 1]
            things += 1
            hits += any(
                d.category_name == name and np.abs(np.subtract([d.x, d.y, d.width, d.height], thing["bbox"])).max() < 6
                for d in seen
            )
    assert hits > 0.6 * things


def test_right_and_wrong_are_counted_for_each_category(trained: tuple[HeardSession, Any], squares: Path) -> None:
    best = trained[0].heard(Best)[-1]
    assert set(best.confusion_matrix) == {"red", "blue"}
    assert best.confusion_iou == 0.5
    held_out = trained[0].dataset.of("test")
    for index, name in enumerate(("red", "blue")):
        counts = best.confusion_matrix[name]
        assert counts.tp + counts.fn == sum(int((picture.classes == index).sum()) for picture in held_out)


def test_people_see_what_the_best_model_finds_in_pictures_held_out(
    trained: tuple[HeardSession, Any], squares: Path
) -> None:
    of, _ = trained
    best, seen = of.heard(Best)[-1], samples.read(of.folder)
    assert seen is not None
    assert seen.epoch == best.epoch
    assert len(seen.pictures) == samples.MOST
    held_out = {picture.name: picture for picture in dataset.read(squares).held_out}
    assert {sample.file for sample in seen.pictures} <= set(held_out)
    found, things = sum(len(sample.found) for sample in seen.pictures), sum(sample.things for sample in seen.pictures)
    assert found >= 0.5 * things > 0
    assert all(each.confidence >= best.conf_threshold for sample in seen.pictures for each in sample.found)


def test_only_the_newest_best_models_stay(trained: tuple[HeardSession, Any]) -> None:
    of, done = trained
    kept = sorted((of.folder / job.BEST).iterdir())
    assert 1 <= len(kept) <= 2
    assert str(kept[-1]) == done.bundle
    assert not list(of.folder.glob("*.pixels"))


def test_with_a_validation_set_the_test_pictures_only_judge_the_end(squares: Path, tmp_path: Path) -> None:
    of = session(squares, tmp_path, epochs=1, compute_validation_set=True)
    done = train(of)
    started = of.heard(Started)[0]
    assert started.val_images == len(of.dataset.of("val")) > 0
    assert started.train_images + started.val_images == 36
    things = sum(counts.tp + counts.fn for counts in of.heard(Best)[-1].confusion_matrix.values())
    assert things == sum(len(picture.boxes) for picture in of.dataset.of("val"))
    assert 0.0 <= done.map50 <= 1.0


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_asked_to_stop_it_ends_soon_with_a_model(squares: Path, tmp_path: Path) -> None:
    of = session(squares, tmp_path, epochs=500)
    of.hook = lambda event: of.stopping.request() if isinstance(event, Progress) else None
    done = train(of)
    assert done.reason == "stopped"
    assert done.epochs < 5
    assert bundles.read(open_bundle(Path(done.bundle))).class_count == 2


def test_time_ends_it_with_the_learning_rate_down(squares: Path, tmp_path: Path) -> None:
    ticks = itertools.count()
    of = session(squares, tmp_path, minutes=1.0, clock=lambda: float(next(ticks)))  # each look at the clock: 1 s
    done = train(of)
    assert done.reason == "minutes"
    assert done.epochs > 1
    found = torch.load(tmp_path / job.CHECKPOINT, weights_only=True)
    assert found["optimizer"]["param_groups"][0]["lr"] < 0.2 * 3e-3


def test_it_ends_when_nothing_gets_better(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "EVALUATION_SHARE", 1e9)  # after every epoch
    of = session(squares, tmp_path, epochs=500, patience=2, learning_rate=1e-9, ema=0.0)
    done = train(of)
    assert done.reason == "patience"
    assert done.epochs < 20


@pytest.mark.parametrize(
    ("share", "warmup", "expected"),
    [(0.0, 0.1, 0.01), (0.05, 0.1, 0.5), (0.1, 0.1, 1.0), (1.0, 0.1, 0.01), (0.0, 0.0, 1.0)],
)
def test_the_learning_rate_rises_and_falls(share: float, warmup: float, expected: float) -> None:
    assert fitting.scheduled(share, warmup) == pytest.approx(expected)


# ── going on ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """The process is gone."""


def killed_after(of: HeardSession, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, a checkpoint after every agreement, until the process is killed in the middle of an epoch."""
    step = fitting._Fit._step
    done = 0

    def dying(self: fitting._Fit, batch: Any) -> bool:
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        return step(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(fitting._Fit, "_step", dying)
        patched.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
        with pytest.raises(Killed):
            train(of)


def test_killed_in_the_middle_of_an_epoch_it_ends_as_if_it_had_not_been(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "EVALUATION_SHARE", 0.0)
    whole = train(session(squares, tmp_path / "whole", epochs=4, zoom=0.1))
    killed_after(session(squares, tmp_path / "cut", epochs=4, zoom=0.1), 16, monkeypatch)  # of 6 steps an epoch
    checkpoint = torch.load(tmp_path / "cut" / job.CHECKPOINT, weights_only=True)
    assert (checkpoint["epoch"], checkpoint["step"]) == (2, 3)
    again = session(squares, tmp_path / "cut", epochs=4, zoom=0.1)
    done = train(again)
    assert min(event.epoch for event in again.heard(Progress)) >= 2  # what was done is not done again
    assert done.map50 == pytest.approx(whole.map50, abs=0.02)
    expected = weights_of(whole.bundle)
    for name, tensor in weights_of(done.bundle).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_checkpoint_of_other_pictures_is_left_alone(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(session(squares, tmp_path / "job", epochs=2), 8, monkeypatch)
    others = write_squares(tmp_path / "others", 16)
    of = session(others, tmp_path / "job", epochs=1)
    train(of)
    assert of.heard(Progress)[0].epoch <= 1


def test_what_was_best_is_said_again(squares: Path, tmp_path: Path) -> None:
    first = session(squares, tmp_path, epochs=1)
    done = train(first)
    second = session(squares, tmp_path, epochs=1)
    assert train(second).bundle == done.bundle
    assert second.heard(Best) == first.heard(Best)[-1:]


def test_out_of_memory_it_goes_on_with_half_the_batch_and_says_so(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = EdgeLearner.forward

    def small(self: EdgeLearner, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        if len(pictures) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return forward(self, pictures, boxes, classes)

    monkeypatch.setattr(EdgeLearner, "forward", small)
    of = session(squares, tmp_path, epochs=2)
    done = train(of)
    assert [event.message for event in of.heard(Warned)] == ["Out of memory with 6 pictures a step; it goes on with 3."]
    assert done.epochs == 2
    assert torch.load(tmp_path / job.CHECKPOINT, weights_only=True)["steps_done"] == 24


def test_not_even_one_picture_fits(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: EdgeLearner, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(EdgeLearner, "forward", never)
    with pytest.raises(InvalidInput, match="smaller variant or resolution"):
        train(session(squares, tmp_path, epochs=1))


# ── losing the loss ─────────────────────────────────────────────────────────────────────────────────────────────────


def poisoned(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool]) -> None:
    """The loss is no number at those calls, and so is what normalization remembers."""
    forward = EdgeLearner.forward
    calls = itertools.count()

    def spoilt(self: EdgeLearner, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        bad = self.training and when(next(calls))
        return forward(self, pictures * float("nan") if bad else pictures, boxes, classes)

    monkeypatch.setattr(EdgeLearner, "forward", spoilt)


def test_a_lost_loss_goes_back_to_the_last_good_checkpoint_and_says_so(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, lambda call: call == 15)
    of = session(squares, tmp_path, epochs=8)
    done = train(of)
    (warned,) = of.heard(Warned)
    assert "not a number any more" in warned.message
    assert "0.5 times the learning rate" in warned.message
    assert done.epochs == 8
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(done.bundle).values())
    assert done.map50 > 0.2


def test_a_loss_that_is_never_a_number_ends_it_with_the_best_so_far(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "EVALUATION_SHARE", 1e9)
    poisoned(monkeypatch, lambda call: call >= 15)
    of = session(squares, tmp_path, epochs=8)
    with pytest.raises(ModelFailed, match=r"not a number, again and again.*lower learning_rate"):
        train(of)
    assert len(of.heard(Warned)) == fitting.MOST_RETURNS
    best = of.heard(Best)[-1]
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(best.bundle).values())
    kept = torch.load(tmp_path / job.CHECKPOINT, weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in kept["network"].values())


# ── base models, and bad input ──────────────────────────────────────────────────────────────────────────────────────


def test_a_base_model_is_where_the_next_training_begins(
    trained: tuple[HeardSession, Any], squares: Path, tmp_path: Path
) -> None:
    base = Path(trained[1].bundle)
    of = session(squares, tmp_path, variant=None, base=base, epochs=1, learning_rate=1e-5)
    done = train(of)
    assert done.map50 > 0.8
    assert "tensors of the base model fit" in of.heard(Warned)[0].message
    assert EdgeRecipe().takes(base)


def test_a_base_model_of_another_network_is_said_and_the_variant_trained_from_scratch(
    trained: tuple[HeardSession, Any], squares: Path, tmp_path: Path
) -> None:
    of = session(squares, tmp_path, variant="edge-mobilenet-320", base=Path(trained[1].bundle), epochs=1)
    train(of)
    assert "another network" in of.heard(Warned)[0].message


def test_a_base_model_without_weights_is_refused(
    trained: tuple[HeardSession, Any], squares: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.json").write_bytes((Path(trained[1].bundle) / "model.json").read_bytes())
    with pytest.raises(BundleError, match=r"network\.pt"):
        train(session(squares, tmp_path / "job", base=base, epochs=1))


def test_a_folder_that_is_no_bundle_is_taken_by_nobody(tmp_path: Path) -> None:
    assert not EdgeRecipe().takes(tmp_path)


def test_one_category_is_learnt(tmp_path: Path) -> None:
    of = session(write_squares(tmp_path / "set", 24, names=("green",)), tmp_path / "job", epochs=2)
    train(of)
    assert set(of.heard(Best)[-1].confusion_matrix) == {"green"}


def test_damaged_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_squares(tmp_path / "set", 16)
    for name in ("000.png", "001.png"):
        (folder / "images" / name).write_bytes(b"damaged")
    of = session(folder, tmp_path / "job", epochs=1)
    train(of)
    assert "2 of the pictures" in of.heard(Warned)[0].message
    assert of.heard(Started)[0].train_images == 10


def test_when_all_are_damaged_nothing_can_be_learnt(tmp_path: Path) -> None:
    folder = write_squares(tmp_path / "set", 16)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(InvalidInput, match="None of the 12 pictures"):
        train(session(folder, tmp_path / "job", epochs=1))


def test_the_input_has_the_proportions_of_the_pictures_where_asked_for(squares: Path) -> None:
    of = session(squares, squares)
    assert input_size(of.dataset, 320, keep_aspect=False) == (320, 320)
    assert input_size(of.dataset, 320, keep_aspect=True) == (320, 320)


def test_best_models_of_another_training_in_its_folder_are_not_taken_for_newer(squares: Path, tmp_path: Path) -> None:
    """As after an upgrade, or with a damaged checkpoint: it begins from scratch, where another had come further."""
    for number in ("000006", "000007"):
        (tmp_path / job.BEST / number).mkdir(parents=True)
    done = train(session(squares, tmp_path, epochs=1))
    assert open_bundle(Path(done.bundle)).model.format == "appliance_pytorch"


def test_every_process_averages_over_the_weights_that_the_first_has(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broadcasting(torch.nn.Module):
        """In place of what tells the weights of the first process to the others."""

        def __init__(self, module: torch.nn.Module, **_more: Any) -> None:
            super().__init__()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.fill_(0.25)

    class Second(Team):
        def share(self, mine: Any) -> Any:
            return mine

        def most(self, mine: Tensor) -> Tensor:
            return mine

    monkeypatch.setattr(fitting, "DistributedDataParallel", Broadcasting)
    of = session(squares, tmp_path, epochs=1)
    learning = EdgeRecipe().prepare(of)
    of.team = Second(rank=1, size=2)
    fitted = fitting._Fit(of, learning, lambda *_: of.heard(Best)[0])
    assert all(bool((each == 0.25).all()) for each in fitted.average.network.parameters())
