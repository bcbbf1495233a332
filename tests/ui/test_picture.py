"""Boxes drawn over a picture; the names beside them come from models, which may be anybody's."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.kit.picture import COLOURS, Label, colour_of, overlay

HOSTILE = [
    "<script>alert(1)</script>",
    '"/><image href="x" onerror="alert(1)"/>',
    "a&b",
    "]]>",
    "'",
    "\\",
    "a\nb",
    "🐈 cat",
]


def drawn(*labels: Label, width: int = 640, height: int = 480) -> ElementTree.Element:
    """The overlay as a browser would read it."""
    return ElementTree.fromstring(f"<svg>{overlay(labels, width, height)}</svg>")


def test_a_box_is_drawn_where_it_is_with_its_text() -> None:
    frame, plate, text = drawn(("cat", "cat 87%", (10, 100, 200, 50)))

    assert [frame.get(name) for name in ("x", "y", "width", "height", "fill")] == ["10", "100", "200", "50", "none"]
    assert text.text == "cat 87%"
    assert plate.get("fill") == frame.get("stroke") == colour_of("cat")


def test_a_box_at_the_upper_edge_has_its_text_inside_the_picture() -> None:
    _, plate, text = drawn(("cat", "cat 87%", (10, 0, 200, 50)))

    assert float(plate.get("y", "-1")) == 0
    assert float(text.get("y", "-1")) > 0


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_nothing_else(name: str) -> None:
    elements = list(drawn((name, f"{name} 50%", (1, 2, 3, 4))))

    assert [element.tag for element in elements] == ["rect", "rect", "text"]
    assert elements[2].text == f"{name} 50%"
    assert not any(attribute.startswith("on") for element in elements for attribute in element.attrib)


printable = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30)


@given(st.lists(st.tuples(printable, printable, st.tuples(*[st.floats(-1e4, 1e4)] * 4)), max_size=5))
def test_whatever_models_are_named_the_overlay_is_well_formed(labels: list[Label]) -> None:
    assert len(drawn(*labels)) == 3 * len(labels)


@given(st.text(max_size=30))
def test_a_name_has_one_colour_always(name: str) -> None:
    encodable = name.encode("utf-8", "replace").decode()
    assert colour_of(encodable) == colour_of(encodable)
    assert colour_of(encodable) in COLOURS


def test_line_and_text_grow_with_the_picture() -> None:
    def line(width: int) -> float:
        frame = drawn(("cat", "cat", (0, 0, 1, 1)), width=width, height=100)[0]
        return float(frame.get("stroke-width", "0"))

    assert line(4000) == 10 * line(400)


def test_nothing_found_draws_nothing() -> None:
    assert overlay([], 640, 480) == ""
    assert not re.search(r"\S", overlay([], 0, 0))
