"""Which cells learn which boxes, and that the loss falls when they do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from networks.base import family
from networks.edge import EdgeNetwork
from trainer_companion.assignment import CELLS_A_BOX, IOU_POWER, SCORE_POWER, Assignment, assign, pairwise_iou
from trainer_companion.losses import EdgeLearner, giou, varifocal
from trainer_companion.team import Team


def network(class_count: int = 2) -> EdgeNetwork:
    torch.manual_seed(0)
    made = family("edge").build({"input_width": 64, "input_height": 64, "width": 0.5}, class_count)
    assert isinstance(made, EdgeNetwork)
    return made


def assigned(boxes: list[list[float]], classes: list[int], scores: torch.Tensor | None = None) -> Assignment:
    """What the cells of a network that says the same box everywhere are to learn."""
    centres, strides = network().cells()
    reach = 2 * strides[:, None]
    predicted = torch.cat([centres - reach, centres + reach], 1)[None]
    said = torch.full((1, len(centres), 2), 0.01) if scores is None else scores
    return assign(said, predicted, centres, strides, torch.tensor([boxes]), torch.tensor([classes]))


def test_the_cells_of_a_box_lie_in_it() -> None:
    found = assigned([[8.0, 8.0, 40.0, 40.0]], [1])
    centres, _ = network().cells()
    learns = found.box[0] == 0
    assert 1 <= int(learns.sum()) <= CELLS_A_BOX
    assert bool(((centres[learns] > 8) & (centres[learns] < 40)).all())
    assert float(found.quality[0][~learns].max()) == 0.0
    best_iou = float(
        pairwise_iou(torch.tensor([[[8.0, 8.0, 40.0, 40.0]]]), torch.tensor([[[8.0, 8.0, 40.0, 40.0]]])).max()
    )
    assert 0 < float(found.quality.max()) <= best_iou


@pytest.mark.parametrize("box", [[13.0, 13.0, 15.0, 15.0], [0.0, 0.0, 2.0, 2.0], [61.0, 30.0, 64.0, 33.0]])
def test_a_tiny_box_has_a_cell_too(box: list[float]) -> None:
    centres, _ = network().cells()
    assert not ((centres > torch.tensor(box[:2])) & (centres < torch.tensor(box[2:]))).all(1).any()
    found = assigned([box], [0])
    assert int((found.box[0] == 0).sum()) == 1


def test_the_cell_that_says_the_right_class_learns_the_box() -> None:
    centres, _ = network().cells()
    scores = torch.full((1, len(centres), 2), 0.01)
    inside = ((centres - 24).abs() < 15).all(1).nonzero()[:, 0]
    scores[0, inside[0], 1] = 0.9
    right = assigned([[8.0, 8.0, 40.0, 40.0]], [1], scores).quality[0, inside[0]]
    wrong = assigned([[8.0, 8.0, 40.0, 40.0]], [0], scores).quality[0, inside[0]]
    assert float(right) > float(wrong)


def test_a_cell_wanted_by_two_boxes_learns_the_one_that_it_overlaps_more() -> None:
    found = assigned([[0.0, 0.0, 64.0, 64.0], [16.0, 16.0, 48.0, 48.0]], [0, 0])
    centres, _ = network().cells()
    middle = int(((centres - 28).square().sum(1)).argmin())
    assert int(found.box[0, middle]) == 1
    assert {0, 1} <= set(found.box[0].tolist())


def test_the_quality_of_a_cell_is_that_of_its_own_box() -> None:
    """A box that a cell is taken from must not lend it its quality: all those that others wanted teach less."""
    centres, strides = network().cells()
    reach = 2 * strides[:, None]
    predicted = torch.cat([centres - reach, centres + reach], 1)
    small, large = predicted[27], torch.cat([predicted[27][:2] - 2, predicted[27][2:] + 2])
    scores = torch.full((1, len(centres), 2), 0.01)
    scores[0, :, 1] = 0.99  # every cell is sure of the class of the large one
    boxes, classes = torch.stack([small, large])[None], torch.tensor([[0, 1]])
    found = assign(scores, predicted[None], centres, strides, boxes, classes)
    overlap = pairwise_iou(boxes, predicted[None])[0]
    for cell in (found.box[0] >= 0).nonzero()[:, 0]:
        box = int(found.box[0, cell])
        of_box = found.box[0] == box
        alone = torch.where(of_box, overlap[box], torch.zeros_like(overlap[box]))
        alignment = scores[0, :, classes[0, box]].pow(SCORE_POWER) * alone.pow(IOU_POWER)
        expected = alignment[cell] / alignment.max() * alone.max()
        assert float(found.quality[0, cell]) == pytest.approx(float(expected), abs=1e-5)


def test_boxes_that_are_filling_teach_nothing() -> None:
    found = assigned([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], [-1, -1])
    assert int((found.box >= 0).sum()) == 0
    assert float(found.quality.max()) == 0.0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [20, 0, 30, 10], -1 / 3),
        ([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3),
        ([0, 0, 0, 0], [0, 0, 10, 10], 0.0),
    ],
)
def test_giou(a: list[float], b: list[float], expected: float) -> None:
    assert float(giou(torch.tensor([a]).float(), torch.tensor([b]).float())) == pytest.approx(expected, abs=1e-5)


def test_background_counts_by_how_wrong_it_is() -> None:
    nothing = torch.zeros(1, 1)
    small, large = varifocal(torch.tensor([[-4.0]]), nothing), varifocal(torch.tensor([[2.0]]), nothing)
    assert float(large) > 100 * float(small) > 0


def test_the_loss_of_pictures_without_boxes_is_a_number_and_has_a_gradient() -> None:
    learner = EdgeLearner(network(), Team())
    loss = learner(torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 4), torch.full((2, 1), -1))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)


def test_boxes_count_alike_whichever_process_has_them() -> None:
    """The loss is shared out by the boxes of all processes, not of this one."""

    class WithRicherColleague(Team):
        def mean(self, mine: Tensor) -> Tensor:
            return 2 * mine

    pictures, boxes = torch.rand(2, 3, 64, 64), torch.tensor([[[8.0, 8.0, 40.0, 40.0], [4.0, 20.0, 60.0, 50.0]]] * 2)
    classes = torch.tensor([[0, 1]] * 2)
    alone, together = (
        float(EdgeLearner(network(), team).eval()(pictures, boxes, classes).detach())
        for team in (Team(), WithRicherColleague())
    )
    assert together == pytest.approx(alone / 2, rel=1e-4)


def test_every_weight_learns_and_the_loss_falls() -> None:
    learner = EdgeLearner(network(), Team()).train()
    torch.manual_seed(1)
    pictures = torch.rand(4, 3, 64, 64) * 0.2
    pictures[:, 0, 16:40, 8:40] = 1.0
    boxes, classes = torch.tensor([[[8.0, 16.0, 40.0, 40.0]]] * 4), torch.zeros(4, 1, dtype=torch.int64)
    optimizer = torch.optim.AdamW(learner.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = learner(pictures, boxes, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(parameter.grad is not None for parameter in learner.parameters())
    assert losses[-1] < 0.5 * losses[0]
