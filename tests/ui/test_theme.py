"""The colours of the theme: whatever is written in them can be read, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ui.kit
from ui.kit.colours import contrast

CSS = (Path(ui.kit.__file__).parent / "theme.css").read_text("utf-8")

PAIRS = [
    *((ink, ground) for ink in ("ink", "muted") for ground in ("ground", "surface", "raised", "sunken")),
    *((ink, ground) for ink in ("accent", "error") for ground in ("ground", "surface")),
    *((name, f"{name}-soft") for name in ("good", "notice", "warning", "error", "accent")),
    *(("ink", f"{name}-soft") for name in ("good", "notice", "warning", "error")),
    ("accent-ink", "accent"),
]


def colours(selector: str) -> dict[str, str]:
    """The colours that a block of the style sheet names."""
    block = re.search(rf"^{re.escape(selector)} \{{(.*?)^\}}", CSS, re.MULTILINE | re.DOTALL)
    assert block
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block[1]))


@pytest.mark.parametrize("theme", [":root", 'html[data-theme="dark"]'], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS, ids=lambda name: str(name))
def test_texts_can_be_read(theme: str, ink: str, ground: str) -> None:
    named = colours(theme)

    assert contrast(named[ink], named[ground]) >= 4.5


@pytest.mark.parametrize("theme", [":root", 'html[data-theme="dark"]'], ids=["light", "dark"])
def test_lines_that_mark_fields_and_charts_can_be_told_from_the_ground(theme: str) -> None:
    named = colours(theme)

    for line in ("line-strong", "series-1", "series-2", "series-3", "series-4"):
        assert contrast(named[line], named["surface"]) >= 3.0, line


def test_both_themes_name_the_same_colours() -> None:
    assert set(colours(":root")) == set(colours('html[data-theme="dark"]'))


def test_nothing_in_it_comes_from_elsewhere() -> None:
    for sheet in Path(ui.kit.__file__).parent.glob("*.*s*"):
        assert not re.search(r"https?://|//[a-z]+\.|@import", sheet.read_text("utf-8")), sheet.name
