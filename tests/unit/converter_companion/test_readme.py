"""The README names every command, setting and pair of the converter, and says of each what the program says."""

from __future__ import annotations

from companions.settings import CompanionSettings
from converter_companion import pairs
from converter_companion.cli import cli
from converter_companion.settings import ConverterSettings
from tests.support.readme import rows, section

SECTION = section("### Converter")


def test_commands() -> None:
    assert {row[0] for row in rows(SECTION, "command")} == {f"`converter-companion {name}`" for name in cli.commands}


def test_settings() -> None:
    own = ConverterSettings.model_fields.keys() - CompanionSettings.model_fields.keys()
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows(SECTION, "setting")}
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
    listed = {(row[0].strip("`"), row[1].strip("`")) for row in rows(SECTION, "from")}
    assert {f"{source}-to-{target}" for source, target in listed} == set(pairs.BUILT_IN)
