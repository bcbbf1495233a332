"""Classes of whole pictures learnt from beginning to end, in this process and by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.bundle import open_bundle, read_document, unpack
from models.errors import InvalidInput
from models.load import load
from models.runtimes.base import Choice
from networks import bundles
from tests.support.coco_folders import square_of, write_classified, write_squares
from tests.support.training_sessions import HeardSession, session, train
from trainer_companion import export, hyperparameters, samples
from trainer_companion.classifier_recipe import ClassifierRecipe
from trainer_companion.cli import main
from trainer_companion.edge_recipe import EdgeRecipe
from trainer_companion.progress import Best, Progress, Warned

VARIANT = "edge-classify-128"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classified(tmp_path_factory.mktemp("pictures") / "set", 48)


def classifying(pictures: Path, folder: Path, **more: Any) -> HeardSession:
    return session(pictures, folder, **{"variant": VARIANT, "recipe": ClassifierRecipe(), **more})


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[HeardSession, Any]:
    """A training of a few epochs, which learns the colours well."""
    of = classifying(pictures, tmp_path_factory.mktemp("trained"), epochs=8)
    return of, train(of, ClassifierRecipe())


def test_colours_are_learnt_and_the_accuracy_is_told(trained: tuple[HeardSession, Any]) -> None:
    of, done = trained
    assert done.accuracy is not None
    assert done.accuracy >= 0.9
    assert of.losses[-1] < 0.8 * of.losses[0]
    best = of.heard(Best)[-1]
    assert best.accuracy == done.accuracy
    assert best.bundle == done.bundle
    held_out = of.dataset.held_out
    for index, key in enumerate(of.dataset.keys):
        counts = best.confusion_matrix[key]
        assert counts.tp + counts.fn == sum(int(picture.classes[0]) == index for picture in held_out)
    measured = [event.accuracy for event in of.heard(Progress) if event.accuracy is not None]
    assert measured
    assert {event.map50 for event in of.heard(Progress)} == {None}
    training = read_document(Path(done.bundle))["training"]
    assert training["accuracy"] == pytest.approx(done.accuracy, abs=1e-4)
    assert "map50" not in training


def test_people_see_which_class_the_best_model_finds(trained: tuple[HeardSession, Any]) -> None:
    seen = samples.read(trained[0].folder)
    assert seen is not None
    assert len(seen.pictures) == samples.MOST
    assert all(sample.said in ("red", "blue", "green") for sample in seen.pictures)
    found = [(sample.said, each.category, each.box) for sample in seen.pictures for each in sample.found]
    assert {box for _, _, box in found} == {None}
    assert sum(said == category for said, category, _ in found) >= 0.8 * len(seen.pictures)


def test_a_device_answers_with_the_class_and_onnx_says_the_same(
    trained: tuple[HeardSession, Any], tmp_path: Path
) -> None:
    bundle = open_bundle(Path(trained[1].bundle))
    assert [category.type for category in bundle.model.categories] == ["classification"] * 3
    torch_detector = load(bundle, Choice("torch", "cpu", 1), cache=tmp_path)
    exported = open_bundle(export.export(bundle.folder, tmp_path / "onnx"))
    onnx_detector = load(exported, Choice("onnx", "cpu", 1), cache=tmp_path)
    rng = np.random.default_rng(7)
    right = 0
    for name in ("red", "blue", "green") * 4:
        picture = square_of(name, rng)
        expected = torch_detector.detect(picture).detections
        assert not expected.box_detections
        by_class = {each.category_name: each.confidence for each in expected.classification_detections}
        got = {
            each.category_name: each.confidence
            for each in onnx_detector.detect(picture).detections.classification_detections
        }
        assert got == pytest.approx(by_class, abs=2e-4)
        raw = [each.outputs(each.prepare(picture).pixels)[0] for each in (torch_detector, onnx_detector)]
        assert np.abs(raw[0] - raw[1]).max() < 1e-4
        surest = expected.classification_detections[0]
        right += surest.category_name == name and surest.confidence >= (bundle.model.conf_threshold or 0)
    assert right >= 11


def test_killed_in_between_it_goes_on_to_the_same_model(pictures: Path, tmp_path: Path) -> None:
    whole = train(classifying(pictures, tmp_path / "whole", epochs=3), ClassifierRecipe())

    class Killed(Exception):
        pass

    def kill(event: object) -> None:
        if isinstance(event, Progress) and event.epoch == 2:
            raise Killed

    of = classifying(pictures, tmp_path / "job", epochs=3)
    of.hook = kill
    with pytest.raises(Killed):
        train(of, ClassifierRecipe())
    again = classifying(pictures, tmp_path / "job", epochs=3)
    done = train(again, ClassifierRecipe())
    assert again.heard(Progress)[0].epoch >= 2
    weights = [bundles.state_of(open_bundle(Path(each.bundle), verify_hashes=False)) for each in (whole, done)]
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor.float(), weights[1][name].float(), atol=1e-4), name


# ── base models ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_base_model_hands_on_what_it_knows(trained: tuple[HeardSession, Any], pictures: Path, tmp_path: Path) -> None:
    base = Path(trained[1].bundle)
    assert ClassifierRecipe().takes(base)
    assert not EdgeRecipe().takes(base)
    of = classifying(pictures, tmp_path, variant=None, base=base, epochs=1, learning_rate=1e-5)
    done = train(of, ClassifierRecipe())
    assert done.accuracy is not None
    assert done.accuracy >= 0.9
    assert "3 of 3 categories are known to it" in of.heard(Warned)[0].message


def test_what_a_detector_has_learnt_to_see_is_taken_up_and_said(
    trained: tuple[HeardSession, Any], pictures: Path, tmp_path: Path
) -> None:
    squares = write_squares(tmp_path / "squares", 24)
    detector = train(session(squares, tmp_path / "detector", epochs=1))
    of = classifying(pictures, tmp_path / "classifier", base=Path(detector.bundle), epochs=1)
    train(of, ClassifierRecipe())
    assert "tensors of the base model fit, the others begin from scratch" in of.heard(Warned)[0].message
    back = session(squares, tmp_path / "back", base=Path(trained[1].bundle), epochs=1)
    train(back)
    assert "tensors of the base model fit, the others begin from scratch" in back.heard(Warned)[0].message


def test_pictures_put_together_have_no_class(pictures: Path) -> None:
    recipe = ClassifierRecipe()
    assert hyperparameters.parse(recipe.hyperparameters, {}).mosaic == 0
    with pytest.raises(InvalidInput, match=r"mosaic cannot be 0\.5"):
        hyperparameters.parse(recipe.hyperparameters, {"mosaic": 0.5})


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_the_accuracy_and_leaves_a_zip(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--coco", str(pictures), "--out", str(tmp_path), "--processes", "1", "--epochs", "2"]
    sizes = ["--set", "resolution=64", "--set", "max_batch_size=6"]
    assert main([*arguments, *sizes, "--variant", VARIANT]) == 0
    said = capsys.readouterr().out
    assert "accuracy 0." in said or "accuracy 1." in said
    assert "mAP" not in said
    assert [path.name for path in tmp_path.iterdir()] == [f"{VARIANT}.zip"]
    unpack(tmp_path / f"{VARIANT}.zip", tmp_path / "unpacked")
    assert open_bundle(tmp_path / "unpacked").model.inference is not None


def test_the_command_names_the_variants_that_fit(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--coco", str(pictures), "--out", str(tmp_path / "out")]) == 1
    assert "These variants learn from this dataset: edge-classify-128" in capsys.readouterr().err
    assert not (tmp_path / "out" / "training" / "job.json").exists()
