"""Base models: their weights as far as they fit, and a sentence about how far that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import BundleError
from models.wire.model_information import Category
from networks import bundles
from networks.base import Network, family
from trainer_companion.base_models import Adopted, adopt
from trainer_companion.bases import Base, open_base

BOLT, NUT, SCREW = (Category(id=f"id-{name}", name=name) for name in ("bolt", "nut", "screw"))


def network(classes: int, seed: int, **architecture: Any) -> Network:
    torch.manual_seed(seed)
    made = family("edge").build({"input_width": 64, "input_height": 64, "width": 0.5, **architecture}, classes)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
    return made


def written(folder: Path, made: Network, categories: list[Category]) -> Base:
    bundles.write(folder, made, "edge", categories)
    return open_base(folder)


def adopted(new: Network, base: Base, categories: list[Category]) -> Adopted:
    return adopt(new, base, categories, by_class=(".logits.",))


def test_the_same_network_is_taken_over_whole(tmp_path: Path) -> None:
    old, new = network(2, 1), network(2, 2)
    result = adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [BOLT, NUT])
    assert all(torch.equal(tensor, new.state_dict()[name]) for name, tensor in old.state_dict().items())
    assert result.tensors == result.of
    assert "All" in result.sentence


def test_known_categories_keep_their_rows_and_new_ones_get_a_new_head(tmp_path: Path) -> None:
    old, new = network(2, 1), network(3, 2)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    renamed = Category(id="another-id", name="nut")
    result = adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [renamed, SCREW, BOLT])
    theirs, mine = old.state_dict(), new.state_dict()
    for name in (name for name in mine if ".logits." in name):
        assert torch.equal(mine[name][0], theirs[name][1])  # nut, by its name
        assert torch.equal(mine[name][2], theirs[name][0])  # bolt, by its id
        assert torch.equal(mine[name][1], before[name][1])  # screw is new
    assert torch.equal(mine["backbone.stem.0.weight"], theirs["backbone.stem.0.weight"])
    assert result.classes == 2
    assert f"{result.tensors} of {result.of} tensors" in result.sentence
    assert "2 of 3 categories" in result.sentence


def test_as_many_other_categories_do_not_get_each_others_rows(tmp_path: Path) -> None:
    old, new = network(2, 1), network(2, 2)
    adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [NUT, BOLT])
    for name in (name for name in new.state_dict() if ".logits." in name):
        assert torch.equal(new.state_dict()[name], old.state_dict()[name].flip(0))


def test_another_network_fits_in_nothing_and_says_so(tmp_path: Path) -> None:
    new = network(2, 2)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    old = network(2, 1, backbone="mobilenet_v2", width=1.0)
    result = adopted(new, written(tmp_path / "base", old, [BOLT, NUT]), [BOLT, NUT])
    assert all(torch.equal(tensor, before[name]) for name, tensor in new.state_dict().items())
    assert result.tensors == 0
    assert "another network" in result.sentence


def test_a_base_model_without_weights_is_refused(tmp_path: Path) -> None:
    base = written(tmp_path / "base", network(2, 1), [BOLT, NUT])
    (tmp_path / "base" / bundles.WEIGHTS).unlink()
    with pytest.raises(BundleError, match=r"no network\.pt"):
        adopted(network(2, 2), base, [BOLT, NUT])
