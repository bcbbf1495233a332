"""`serve` of every companion takes the same options, and tells the truth about them."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest

from annotator_companion.settings import AnnotatorSettings
from companions.settings import CompanionSettings
from converter_companion.settings import ConverterSettings
from trainer_companion.settings import TrainerSettings

COMPANIONS = (TrainerSettings, ConverterSettings, AnnotatorSettings)


def command(settings: type[CompanionSettings]) -> click.Command:
    found = importlib.import_module(f"{settings.companion}_companion.serve").serve
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("settings", COMPANIONS)
def test_each_is_a_setting(settings: type[CompanionSettings]) -> None:
    given = ["--loop", "loop:8014", "--host", "0.0.0.0", "--port", "7", "--name", "left", "--data-dir", "kept"]
    parsed = command(settings).make_context("serve", given).params
    common = {name: value for name, value in parsed.items() if name in CompanionSettings.model_fields}
    assert common == {
        "loop_host": "loop:8014",
        "bind_host": "0.0.0.0",
        "port": 7,
        "node_name": "left",
        "data_folder": Path("kept"),
    }
    loaded = settings.load({}, common)
    assert (loaded.port, loaded.bind_host, loaded.data_folder.name) == (7, "0.0.0.0", "kept")


@pytest.mark.parametrize("settings", COMPANIONS)
def test_help_tells_the_defaults_that_hold(settings: type[CompanionSettings]) -> None:
    found = command(settings)
    text = found.get_help(click.Context(found))
    defaults = settings.load({"HOME": "/nowhere"})
    assert f"[{defaults.port}]" in text
    assert f"[{defaults.bind_host}]" in text
    assert settings.companion in text


@pytest.mark.parametrize("settings", COMPANIONS)
def test_what_is_not_given_is_left_to_the_environment(settings: type[CompanionSettings]) -> None:
    parsed = command(settings).make_context("serve", []).params
    assert not any(parsed.values())
    assert settings.load({"HOME": "/nowhere", "NODE_PORT": "9"}, {"port": parsed["port"]}).port == 9
