"""What a page is given is XML whatever the Loop says, and shows what was drawn."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator_companion.overlay import DEFAULT_COLOUR, overlay
from annotator_companion.tools.base import Box, Dot, Line, Shape

TRIANGLE = ((0, 0), (10, 0), (10, 10))


def parsed(svg: str) -> ElementTree.Element:
    group = ElementTree.fromstring(svg)
    assert group.tag == "g"
    return group


def test_the_outline_lies_below_what_is_drawn_over_it() -> None:
    shapes: list[Shape] = [Box(1, 2, 3, 4), Line(((0, 0), (5, 5)), "background"), Dot((7, 8), "foreground")]
    group = parsed(overlay(TRIANGLE, shapes, "#ff8800"))
    assert [element.tag for element in group] == ["polygon", "rect", "polyline", "circle"]
    polygon, box, line, dot = group
    assert (polygon.get("points"), polygon.get("stroke")) == ("0,0 10,0 10,10", "#ff8800")
    assert [box.get(name) for name in ("x", "y", "width", "height", "stroke")] == ["1", "2", "3", "4", "#ff8800"]
    assert line.get("points") == "0,0 5,5"
    assert (dot.get("cx"), dot.get("cy")) == ("7", "8")
    assert len({line.get("stroke"), dot.get("stroke"), "#ff8800"}) == 3, "they are told apart"


def test_nothing_is_an_empty_answer() -> None:
    assert overlay((), (), "#ff8800") == ""


@pytest.mark.parametrize("colour", ["#ff8800", "#f80", "#ff8800cc", "red", "DarkOrange"])
def test_colours_as_pages_write_them_are_used(colour: str) -> None:
    assert parsed(overlay(TRIANGLE, (), colour))[0].get("stroke") == colour


@given(st.none() | st.text())
def test_any_text_for_a_colour_gives_xml_without_it(colour: str | None) -> None:
    svg = overlay(TRIANGLE, (), colour)
    stroke = parsed(svg)[0].get("stroke")
    assert stroke in {colour, DEFAULT_COLOUR}
    if colour and not colour.lstrip("#").isalnum():
        assert stroke == DEFAULT_COLOUR


@pytest.mark.parametrize(
    "colour",
    ['"/><script>alert(1)</script>', "url(http://elsewhere/)", "red;background:url(x)", "expression(1)", "a" * 99],
)
def test_what_is_no_colour_never_reaches_the_page(colour: str) -> None:
    assert colour not in overlay(TRIANGLE, (), colour)
