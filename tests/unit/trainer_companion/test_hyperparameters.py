"""Hyperparameters: each documented, wrong ones refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import InvalidInput
from trainer_companion.d_fine_recipe import DFineHyperparameters
from trainer_companion.hyperparameters import Hyperparameters, parse, table


def test_what_is_not_said_has_its_default() -> None:
    assert parse(Hyperparameters, {}) == Hyperparameters()
    assert parse(Hyperparameters, {"resolution": 320, "learning_rate": 1e-3}).resolution == 320


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param({"lerning_rate": 1}, "no hyperparameter 'lerning_rate'.*learning_rate", id="unknown"),
        pytest.param({"learning_rate": 0}, "learning_rate cannot be 0", id="too low"),
        pytest.param({"learning_rate": float("nan")}, "learning_rate", id="no number"),
        pytest.param({"resolution": 100}, "resolution cannot be 100.*multiple of 32", id="between two"),
        pytest.param({"resolution": 5000}, "resolution cannot be 5000", id="too high"),
        pytest.param({"epochs": "many"}, "epochs cannot be 'many'", id="a word"),
        pytest.param({"epochs": 3, "minutes": 2}, "Epochs and minutes contradict each other", id="contradiction"),
        pytest.param({"compute_validation_set": "yes"}, "compute_validation_set cannot be 'yes'", id="no bool"),
        pytest.param({"compute_validation_set": 1}, "compute_validation_set", id="a number for a bool"),
    ],
)
def test_wrong_ones_are_refused_with_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        parse(Hyperparameters, given)


def test_every_one_has_a_range_and_a_sentence() -> None:
    rows = {name: row for name, *row in table(Hyperparameters)}
    assert set(rows) == set(Hyperparameters.model_fields)
    for name, (_, values, _, sentence) in rows.items():
        assert values, name
        assert sentence.endswith("."), name
    assert rows["learning_rate"][:3] == ["per step", "above 0 to 1.0", "0.003"]
    assert rows["resolution"][1] == "64 to 1280, multiples of 32"


def test_another_default_keeps_the_range_the_unit_and_the_sentence() -> None:
    of_all, of_d_fine = ({row[0]: row for row in table(kind)} for kind in (Hyperparameters, DFineHyperparameters))
    for name in ("learning_rate", "weight_decay"):
        assert of_d_fine[name][3] != of_all[name][3]
        assert [*of_d_fine[name][:3], of_d_fine[name][4]] == [*of_all[name][:3], of_all[name][4]]
    with pytest.raises(InvalidInput, match="learning_rate cannot be 2"):
        parse(DFineHyperparameters, {"learning_rate": 2})
    assert parse(Hyperparameters, {}).learning_rate == 3e-3
