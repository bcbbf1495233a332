"""The README names every command, setting and pair of the converter, and says of each what the program says."""

from __future__ import annotations

import re
from pathlib import Path

from companions.settings import CompanionSettings
from converter_companion import pairs
from converter_companion.cli import cli
from converter_companion.settings import ConverterSettings

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def section() -> str:
    match = re.search(r"^### Converter$(.*?)(?=^##)", README, re.MULTILINE | re.DOTALL)
    assert match
    return match[1]


def rows(first: str) -> list[list[str]]:
    """The table whose first head is `first`."""
    table = re.search(rf"^\| {first} \|.*\n\|---.*\n((?:\|.*\n)+)", section(), re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def test_commands() -> None:
    assert {row[0] for row in rows("command")} == {f"`converter-companion {name}`" for name in cli.commands}


def test_settings() -> None:
    own = ConverterSettings.model_fields.keys() - CompanionSettings.model_fields.keys()
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows("setting")}
    assert set(documented) == {ConverterSettings.environment_names(field)[0] for field in own}
    defaults = ConverterSettings()
    for name, shown in documented.items():
        value = getattr(defaults, name.lower())
        if isinstance(value, list):
            assert shown == ",".join(value)
        elif value is None:
            assert shown == "none"
        else:
            assert float(shown) == value


def test_pairs() -> None:
    listed = {(row[0].strip("`"), row[1].strip("`")) for row in rows("from")}
    assert {f"{source}-to-{target}" for source, target in listed} == set(pairs.BUILT_IN)
