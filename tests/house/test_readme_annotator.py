"""The README's part on the annotator says what the program says."""

from __future__ import annotations

import inspect

import click

from annotator_companion.cli import cli
from annotator_companion.settings import AnnotatorSettings
from annotator_companion.tools import BUILT_IN
from companions.settings import CompanionSettings
from tests.support.readme import section

SECTION = section("### Annotator")


def rows() -> dict[str, list[str]]:
    """First cell, which is code -> the others."""
    lines = [line.strip("|").split(" | ") for line in SECTION.splitlines() if line.startswith("| `")]
    return {first.strip(" `"): [cell.strip() for cell in others] for first, *others in lines}


def test_every_setting_of_its_own_is_documented_with_its_meaning() -> None:
    own = set(AnnotatorSettings.model_fields) - set(CompanionSettings.model_fields)
    table = {name: cells for name, cells in rows().items() if name.isupper()}
    assert set(table) == {AnnotatorSettings.environment_names(field)[0] for field in own}
    for field in own:
        _, meaning = table[AnnotatorSettings.environment_names(field)[0]]
        assert meaning == AnnotatorSettings.model_fields[field].description, field


def test_every_tool_is_documented() -> None:
    assert {name for name in rows() if name.islower()} == set(BUILT_IN)


def test_every_command_is_shown_and_explains_itself() -> None:
    for name, command in cli.commands.items():
        assert f"annotator-companion {name} " in SECTION, name
        assert command.help, name
        assert f"\b\nannotator-companion {name}" in inspect.cleandoc(command.help), f"{name} has no example"
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.name}"
