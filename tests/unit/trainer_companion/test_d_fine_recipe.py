"""The transformer's recipe: what it begins with, what it learns by, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.bundle import open_bundle
from models.errors import InvalidInput
from models.load import load
from models.runtimes.base import Choice
from networks.base import family
from networks.d_fine import DFineNetwork
from tests.support.coco_folders import write_squares
from tests.support.training_sessions import HeardSession, session, train
from trainer_companion import export, fitting, hub, job
from trainer_companion.d_fine_losses import DFineLearner
from trainer_companion.d_fine_recipe import BACKBONE, DFineRecipe
from trainer_companion.hub import NotReached
from trainer_companion.launching import Training
from trainer_companion.progress import Best, Event, Started, Warned
from trainer_companion.team import Team

RECIPE = DFineRecipe()
NANO = "d-fine-nano-640"


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "set", 48)


def asked(pictures: Path, folder: Path, **more: Any) -> HeardSession:
    return session(pictures, folder, **{"variant": NANO, "recipe": RECIPE, "pretrained": False, **more})


def nano(classes: int = 2, seed: int = 0) -> DFineNetwork:
    torch.manual_seed(seed)
    made = family("d_fine").build({"size": "nano", "input_width": 64, "input_height": 64}, classes)
    assert isinstance(made, DFineNetwork)
    return made


# ── a whole training ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[HeardSession, Any]:
    """From scratch, which is slow for a transformer: enough to see that it learns."""
    of = asked(squares, tmp_path_factory.mktemp("trained"), epochs=16, learning_rate=1e-3, ema=0.98)
    return of, train(of, RECIPE)


@pytest.mark.slow
def test_squares_are_learnt(trained: tuple[HeardSession, Any]) -> None:
    of, done = trained
    first, last = of.heard(Best)[0], of.heard(Best)[-1]
    assert first.map50 < 0.05  # as good as blind
    assert done.map50 > 0.1
    assert last.bundle == done.bundle
    assert of.losses[-1] < 0.95 * of.losses[0]  # most of it is of queries that begin as noise
    started = of.heard(Started)[0]
    assert (started.architecture, started.train_images, started.test_images) == ("d_fine", 36, 12)


@pytest.mark.slow
def test_what_is_trained_detects_the_same_in_pytorch_and_onnx(
    trained: tuple[HeardSession, Any], squares: Path, tmp_path: Path
) -> None:
    _, done = trained
    onnx = export.export(Path(done.bundle), tmp_path / "onnx")
    picture = sorted((squares / "images").iterdir())[3].read_bytes()
    seen = []
    for folder, runtime in ((Path(done.bundle), "torch"), (onnx, "onnx")):
        detector = load(open_bundle(folder), Choice(runtime, "cpu", 1), cache=tmp_path, floor=0.05)
        try:
            found = detector.detect(picture).detections.box_detections
        finally:
            detector.close()
        seen.append(sorted((each.category_name, each.confidence, each.x, each.y) for each in found))
    assert len(seen[0]) > 0
    assert [each[0] for each in seen[0]] == [each[0] for each in seen[1]]
    np.testing.assert_allclose([each[1:] for each in seen[0]], [each[1:] for each in seen[1]], atol=1e-3)


@pytest.mark.slow
def test_the_next_training_begins_with_it(trained: tuple[HeardSession, Any], squares: Path, tmp_path: Path) -> None:
    base = Path(trained[1].bundle)
    assert RECIPE.takes(base)
    of = asked(squares, tmp_path, variant=None, base=base, epochs=1, learning_rate=1e-5)
    done = train(of, RECIPE)
    assert "tensors of the base model fit" in of.heard(Warned)[0].message
    assert of.heard(Warned)[0].message.startswith("All")
    assert done.map50 == pytest.approx(trained[1].map50, abs=0.1)


@pytest.mark.slow
def test_two_processes_train_it_together_with_pictures_on_which_there_is_nothing(tmp_path: Path) -> None:
    pictures = write_squares(tmp_path / "set", 16)
    document = json.loads((pictures / "annotations.json").read_text())
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] <= 3]
    (pictures / "annotations.json").write_text(json.dumps(document))
    given = {"resolution": 64, "max_batch_size": 2, "epochs": 2, "pretrained": False}
    job.write(tmp_path / "job", job.Job(dataset=pictures, variant=NANO, hyperparameters=given, device="cpu"))
    events: list[Event] = []
    done = Training(tmp_path / "job", 2).run(events.append)
    assert done.epochs == 2
    assert next(event.processes for event in events if isinstance(event, Started)) == 2
    assert [event.message for event in events if isinstance(event, Warned)] == []


# ── what it begins with ─────────────────────────────────────────────────────────────────────────────────────────────


def test_weights_of_a_hub_are_taken_as_far_as_they_fit(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named as `transformers` names them, and know eighty other categories."""
    published = nano(80, seed=7)
    tensors = {
        name: each.clone() for name, each in published.detector.state_dict().items() if "class_embed" not in name
    }
    save_file(tensors, tmp_path / "model.safetensors")
    wanted: list[str] = []

    def fetch(repository: str) -> Path:
        wanted.append(repository)
        return tmp_path / "model.safetensors"

    monkeypatch.setattr(hub, "fetch", fetch)
    of = asked(squares, tmp_path / "job", pretrained=True)
    learning = RECIPE.prepare(of)
    assert wanted == ["ustc-community/dfine-nano-coco"]
    asking, fits = (event.message for event in of.heard(Warned))
    assert "huggingface.co" in asking
    assert "tensors of the base model fit" in fits
    mine, theirs = learning.network.state_dict(), published.state_dict()
    stem = f"{BACKBONE}model.embedder.stem1.convolution.weight"
    assert torch.equal(mine[stem], theirs[stem])
    assert mine["detector.model.enc_score_head.weight"].shape[0] == 2
    assert learning.learning_rates == {BACKBONE: 0.5}


def test_without_a_hub_it_begins_from_scratch_and_says_so(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(repository: str) -> Path:
        raise NotReached(f"{repository} was not to be had (no way there)")

    monkeypatch.setattr(hub, "fetch", fetch)
    of = asked(squares, tmp_path / "job", pretrained=True)
    learning = RECIPE.prepare(of)
    assert "no way there" in of.heard(Warned)[-1].message
    assert "from scratch" in of.heard(Warned)[-1].message
    assert learning.learning_rates == {BACKBONE: 1.0}


def test_a_torn_file_in_the_cache_is_fetched_anew(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(
        {name: each.clone() for name, each in nano(80).detector.state_dict().items() if "class_embed" not in name},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "torn.safetensors").write_bytes(b"")

    def fetch(repository: str, *, anew: bool = False) -> Path:
        return tmp_path / ("model.safetensors" if anew else "torn.safetensors")

    monkeypatch.setattr(hub, "fetch", fetch)
    of = asked(squares, tmp_path / "job", pretrained=True)
    RECIPE.prepare(of)
    assert "tensors of the base model fit" in of.heard(Warned)[-1].message


def test_a_training_that_goes_on_asks_no_hub(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = asked(squares, tmp_path / "job", epochs=1)
    fitted = _agreed(of, RECIPE.prepare(of))
    fitted._save()
    wanted: list[str] = []
    monkeypatch.setattr(RECIPE, "foundation", lambda session, network: wanted.append("asked"))
    RECIPE.prepare(asked(squares, tmp_path / "job", epochs=1))
    assert wanted == []
    RECIPE.prepare(asked(squares, tmp_path / "job", epochs=1, seed=1))
    assert wanted == ["asked"]


def test_a_base_model_comes_before_the_hub(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(repository: str) -> Path:
        raise AssertionError(f"{repository} is not needed")

    monkeypatch.setattr(hub, "fetch", fetch)
    (tmp_path / "base").mkdir()
    torch.save(nano(seed=3).state_dict(), tmp_path / "base" / "mine.pth")
    (tmp_path / "base" / "model.json").write_text("{}")
    of = asked(squares, tmp_path / "job", pretrained=True, base=tmp_path / "base")
    RECIPE.prepare(of)
    assert "tensors of the base model fit" in of.heard(Warned)[0].message


def test_the_backbone_learns_more_slowly_where_it_knows_something(squares: Path, tmp_path: Path) -> None:
    of = asked(squares, tmp_path / "job")
    learning = RECIPE.prepare(of)
    learning.learning_rates = RECIPE.learning_rates(of, knows=True)
    groups = _agreed(of, learning).optimizer.param_groups
    (slow,) = {group["lr"] for group in groups if group["share"] == 0.5}
    (usual,) = {group["lr"] for group in groups if group["share"] == 1.0}
    assert slow == pytest.approx(usual / 2)


def _agreed(of: HeardSession, learning: fitting.Learning) -> Any:
    def never(*_: object) -> Best:
        raise AssertionError("nothing is evaluated here")

    fitted = fitting._Fit(of, learning, never)
    fitted._agree()
    return fitted


def test_numbers_that_only_others_have_are_refused(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="backbone_learning_rate cannot be 2"):
        asked(squares, tmp_path, backbone_learning_rate=2)
    with pytest.raises(InvalidInput, match="There is no hyperparameter 'pretrained'"):
        session(squares, tmp_path, pretrained=True)


# ── what it learns by ───────────────────────────────────────────────────────────────────────────────────────────────


def loss_of(network: DFineNetwork, team: Team, pictures: Tensor) -> Tensor:
    boxes = torch.tensor([[[8.0, 8.0, 40.0, 40.0], [4.0, 20.0, 60.0, 50.0]]] * 2)
    torch.manual_seed(1)
    loss: Tensor = DFineLearner(network, team)(pictures, boxes, torch.tensor([[0, 1], [1, -1]]))
    return loss


def test_things_count_alike_whichever_process_has_them() -> None:
    class WithRicherColleague(Team):
        def mean(self, mine: Tensor) -> Tensor:
            return 2 * mine

    pictures = torch.rand(2, 3, 64, 64)
    alone = float(loss_of(nano().eval(), Team(), pictures).detach())
    together = float(loss_of(nano().eval(), WithRicherColleague(), pictures).detach())
    assert together == pytest.approx(alone / 2, rel=1e-4)


def test_boxes_are_told_in_shares_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    def loss(self: DFineNetwork, pictures: Tensor, things: Any) -> Tensor:
        heard.append(things)
        return pictures.sum()

    monkeypatch.setattr(DFineNetwork, "loss", loss)
    loss_of(nano(), Team(), torch.zeros(2, 3, 64, 64))
    (first_boxes, first_classes), (second_boxes, second_classes) = heard[0]
    np.testing.assert_allclose(first_boxes, [[0.375, 0.375, 0.5, 0.5], [0.5, 35 / 64, 56 / 64, 30 / 64]])
    assert first_classes.tolist() == [0, 1]
    assert (len(second_boxes), second_classes.tolist()) == (1, [1])


def test_a_lost_loss_is_no_number_with_a_gradient_for_every_weight() -> None:
    """Matching refuses what is no number; the loop over steps wants to see it, and other processes wait for gradients."""

    class Asked(Team):
        times = 0

        def mean(self, mine: Tensor) -> Tensor:
            self.times += 1
            return mine

    network, team = nano().train(), Asked()
    loss = loss_of(network, team, torch.full((2, 3, 64, 64), torch.nan))
    assert torch.isnan(loss)
    assert team.times == 1  # the others ask, too, and would wait
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None for each in network.parameters() if each.requires_grad)


def test_other_refusals_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(self: DFineNetwork, pictures: Tensor, things: Any) -> Tensor:
        raise ValueError("a bug")

    monkeypatch.setattr(DFineNetwork, "loss", loss)
    with pytest.raises(ValueError, match="a bug"):
        loss_of(nano(), Team(), torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_mixed_precision_the_loss_is_a_number_with_a_gradient(precision: torch.dtype) -> None:
    """As on a graphics card; processors have both, too."""
    network = nano().train()
    with torch.autocast("cpu", precision):
        loss = loss_of(network, Team(), torch.rand(2, 3, 64, 64))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each.grad).all() for each in network.parameters() if each.grad is not None)
