"""What is drawn over pictures."""

from __future__ import annotations

import pytest

from ui.kit.colours import colour_of
from ui.kit.marks import Mark


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
