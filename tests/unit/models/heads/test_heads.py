"""Heads by name, as `model.json` names them."""

from __future__ import annotations

import pytest

from models.errors import BundleError
from models.heads import BUILT_IN, head


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_head_of_the_table_is_there_under_its_name(name: str) -> None:
    assert head(name).name == name


def test_two_models_never_share_a_head() -> None:
    assert head("ssd_raw") is not head("ssd_raw")


def test_an_unknown_head_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        BundleError, match=r"no 'ssd' in detector_appliance.heads; known are .*detr, ssd_postprocessed, .*yolo"
    ):
        head("ssd")
