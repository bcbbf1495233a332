"""Colours of categories: they stay, are told apart, and can be read upon."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.test_theme import colours as colours_of_theme
from ui.kit.colours import colour_of, contrast, distance, ink_on, palette, written

MODELS = {
    "traffic": ("bicycle", "bus", "car", "motorcycle", "person", "traffic light", "train", "truck"),
    "workshop": (
        "bolt",
        "clamp",
        "gear",
        "nut",
        "screw",
        "spring",
        "tape",
        "washer",
        "weld",
        "wire",
        "wrench",
        "bearing",
    ),
    "numbered": tuple(f"class {number}" for number in range(12)),
}


@given(st.text(max_size=40))
def test_every_name_has_one_colour_with_an_ink_that_can_be_read(name: str) -> None:
    colour = colour_of(name)

    assert palette({name: None}) == {name: colour}
    assert contrast(colour, ink_on(colour)) >= 4.5


@pytest.mark.parametrize("names", MODELS.values(), ids=MODELS)
def test_the_categories_of_a_model_are_told_apart(names: tuple[str, ...]) -> None:
    colours = palette(dict.fromkeys(names))

    assert set(colours) == set(names)
    assert min(distance(*pair) for pair in combinations(colours.values(), 2)) >= 0.1
    assert colours == palette(dict.fromkeys(reversed(names))), "whatever the order"


@given(st.sets(st.text(max_size=20), min_size=2, max_size=12))
def test_a_dozen_of_any_names_are_told_apart(names: set[str]) -> None:
    assert min(distance(*pair) for pair in combinations(palette(dict.fromkeys(names)).values(), 2)) >= 0.08


def test_as_many_as_the_model_that_comes_along_has_all_have_colours_of_their_own() -> None:
    colours = palette({f"category {number}": None for number in range(80)})

    assert len(set(colours.values())) == 80
    assert len(palette({f"category {number}": None for number in range(2000)})) == 2000, "and more are no harm"


def test_what_has_a_colour_in_the_model_keeps_it_and_others_keep_away_from_it() -> None:
    taken = colour_of("cat")

    colours = palette({"cat": None, "dog": taken.upper()})

    assert colours["dog"] == taken
    assert distance(colours["cat"], taken) >= 0.1
    assert palette({"cow": "reddish"}) == {"cow": colour_of("cow")}, "what is no colour does not count"


def test_most_names_keep_their_colours_when_another_comes() -> None:
    names = MODELS["traffic"]
    before, after = palette(dict.fromkeys(names)), palette(dict.fromkeys((*names, "ambulance")))

    assert sum(before[name] == after[name] for name in names) >= len(names) - 2


@pytest.mark.parametrize("theme", [":root", 'html[data-theme="dark"]'], ids=["light", "dark"])
def test_colours_stand_out_from_the_page(theme: str) -> None:
    surface = colours_of_theme(theme)["surface"]

    assert min(contrast(colour, surface) for colour in palette(dict.fromkeys(MODELS["workshop"])).values()) >= 2.2


@pytest.mark.parametrize(
    ("text", "colour"),
    [("#ff8000", "#ff8000"), ("#F80", "#ff8800"), ("00ff00", "#00ff00"), ("reddish", None), ("", None), (None, None)],
)
def test_colours_are_understood_as_people_write_them(text: str | None, colour: str | None) -> None:
    assert written(text) == colour


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21.0), ("#ffffff", "#ffffff", 1.0), ("#767676", "#ffffff", 4.54)],
)
def test_contrast_is_that_of_the_guidelines(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [
        ("#000000", "#ffffff", 1.0),
        ("#ff0000", "#00ff00", 0.520),
        ("#ff0000", "#0000ff", 0.537),
        ("#808080", "#808080", 0.0),
    ],
)
def test_distance_is_that_of_oklab(one: str, other: str, far: float) -> None:
    assert distance(one, other) == pytest.approx(far, abs=0.002)
