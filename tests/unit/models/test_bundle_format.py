"""model.json as a type: what it accepts from upstream, and which contradictions it finds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from models.bundle_format import SCORE_THRESHOLD, ModelJson
from tests.support.small_bundles import model_json


def test_the_model_json_of_upstream_s_own_tests_is_taken() -> None:
    model = ModelJson.model_validate(
        {"format": "mocked", "categories": [{"id": "1", "name": "purple point", "type": "point"}]}
    )
    assert model.inference is None
    assert model.score_threshold == SCORE_THRESHOLD


def test_a_class_number_leads_to_its_category_though_the_numbers_have_gaps() -> None:
    model = ModelJson.model_validate(model_json())
    assert {number: category.name for number, category in model.categories_by_class().items()} == {
        0: "screw",
        5: "hole",
    }


def test_without_class_numbers_the_order_of_the_categories_counts() -> None:
    document = model_json()
    del document["inference"]["class_indices"]
    model = ModelJson.model_validate(document)
    assert {number: category.name for number, category in model.categories_by_class().items()} == {
        0: "screw",
        1: "hole",
    }


@pytest.mark.parametrize(
    ("conf_threshold", "score_threshold", "shown_from"), [(0.4, 0.2, 0.4), (0.0, 0.2, 0.0), (None, 0.2, 0.2)]
)
def test_the_trainer_s_threshold_wins_over_the_bundle_s(
    conf_threshold: float | None, score_threshold: float, shown_from: float
) -> None:
    document = model_json(conf_threshold=conf_threshold)
    document["inference"]["score_threshold"] = score_threshold
    assert ModelJson.model_validate(document).score_threshold == shown_from


def test_unknown_keys_are_kept_at_every_depth() -> None:
    document = model_json(new_upstream_key={"a": [1]})
    document["inference"]["weights"][0]["quantization"] = "int8"
    document["inference"]["weights"][0]["input"]["gamma"] = 2.2
    assert ModelJson.model_validate(copy.deepcopy(document)).model_dump(exclude_unset=True) == document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["inference", "class_indices"], [0], "1 class_indices for 2 categories; they must run parallel"),
        (["inference", "class_indices"], [3, 3], "names a class twice"),
        (["inference", "class_indices"], [-1, 3], "greater than or equal to 0"),
        (["inference", "weights"], [], "at least 1 item"),
        (["inference", "score_threshold"], 1.5, "less than or equal to 1"),
        (["inference", "weights", 0, "accelerator"], "gpu", "'cpu', 'edgetpu', 'cuda' or 'any'"),
        (["inference", "weights", 0, "runtime"], "Lite RT", "should match pattern"),
        (["inference", "weights", 0, "sha256"], "abc", "should match pattern"),
        (["inference", "weights", 0, "outputs", "boxes"], -1, "greater than or equal to 0"),
        (["inference", "weights", 0, "input", "width"], 0, "greater than 0"),
        (["inference", "weights", 0, "input", "height"], 100_000, "less than or equal to 8192"),
        (["inference", "weights", 0, "input", "scale"], float("nan"), "finite number"),
        (["inference", "weights", 0, "input", "layout"], "CHW", "'NHWC' or 'NCHW'"),
    ],
)
def test_what_cannot_be_meant_is_refused(path: list[str | int], value: object, message: str) -> None:
    document: Any = copy.deepcopy(model_json())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError, match=message):
        ModelJson.model_validate(document)
