"""The README's part on the trainer says what the program says."""

from __future__ import annotations

import re

from companions.settings import CompanionSettings
from tests.support.readme import section
from trainer_companion.cli import cli
from trainer_companion.settings import TrainerSettings

SECTION = section("### Trainer")


def test_every_setting_of_its_own_is_documented_with_its_default_and_meaning() -> None:
    lines = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if re.match(r"\| `[A-Z_]+` \|", line)]
    own = set(TrainerSettings.model_fields) - set(CompanionSettings.model_fields)
    expected = []
    for field in own:
        default = TrainerSettings.model_fields[field].default
        said = "none" if default is None else str(default).lower() if isinstance(default, bool) else f"{default:g}"
        name = TrainerSettings.environment_names(field)[0]
        expected.append([f"`{name}`", said, str(TrainerSettings.model_fields[field].description)])
    assert sorted(lines) == sorted(expected)


def test_every_command_is_shown_and_explains_itself() -> None:
    for name, command in cli.commands.items():
        assert re.search(rf"^trainer-companion {name}\b", SECTION, re.MULTILINE), name
        assert command.help, name
