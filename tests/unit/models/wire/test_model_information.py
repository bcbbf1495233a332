"""Categories as every writer of a model.json has them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.wire.model_information import Category


@pytest.mark.parametrize("said", [{}, {"type": None}, {"type": "box"}])
def test_a_category_without_a_type_is_a_box(said: dict[str, object]) -> None:
    assert Category.model_validate({"id": "1", "name": "bolt", **said}).type == "box"


def test_other_types_are_kept_and_unknown_ones_refused() -> None:
    assert Category.model_validate({"id": "1", "name": "bolt", "type": "point"}).type == "point"
    with pytest.raises(ValidationError):
        Category.model_validate({"id": "1", "name": "bolt", "type": "sphere"})
