"""What is drawn over pictures: colours that stay, and can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.kit.marks import Mark, colour_of, contrast, ink_on


@pytest.mark.parametrize(
    ("mark", "kind", "place"),
    [
        (Mark("cat", 0.5, (1, 2, 3, 4)), "box", (1, 2, 3, 4)),
        (Mark("cat", 0.5, point=(5, 6)), "point", (5, 6, 0, 0)),
        (Mark("cat", 0.5, mask=((1, 2), (9, 4), (3, 8))), "mask", (1, 2, 8, 6)),
        (Mark("cat", 0.5), "whole", (0, 0, 0, 0)),
    ],
    ids=["box", "point", "mask", "whole picture"],
)
def test_a_mark_says_what_it_is_and_where(mark: Mark, kind: str, place: tuple[float, ...]) -> None:
    props = mark.as_props()

    assert props["kind"] == kind
    assert tuple(props[name] for name in ("x", "y", "width", "height")) == place
    assert props["words"] == "cat 50%"


def test_what_a_person_says_has_no_confidence_and_is_never_hidden() -> None:
    props = Mark("cat").as_props()

    assert (props["words"], props["confidence"]) == ("cat", 1.0)


def test_a_category_may_have_a_colour_of_its_own() -> None:
    assert Mark("cat", 0.5, colour="#00ff00").as_props()["colour"] == "#00ff00"
    hostile = Mark("cat", 0.5, colour="red; background: url(http://elsewhere)").as_props()["colour"]
    assert hostile == colour_of("cat")


@given(st.text(max_size=40))
def test_every_name_has_one_colour_with_an_ink_that_can_be_read(name: str) -> None:
    colour = colour_of(name)

    assert colour_of(name) == colour
    assert contrast(colour, ink_on(colour)) >= 4.5


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21.0), ("#ffffff", "#ffffff", 1.0), ("#767676", "#ffffff", 4.54)],
)
def test_contrast_is_that_of_the_guidelines(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)
