"""What an annotator reads from the environment beside that which all companions do."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator_companion.settings import AnnotatorSettings
from models.errors import SettingsInvalid


def load(**environ: str) -> AnnotatorSettings:
    return AnnotatorSettings.load({"HOME": "/nowhere", **environ})


def test_without_any_it_has_tools_and_a_port_of_its_own() -> None:
    settings = load()
    assert (settings.port, settings.tool_names) == (8044, ["grabcut", "livewire"])


def test_upstreams_names_and_its_own() -> None:
    settings = load(HOST="loop", NODE_PORT="9000", ANNOTATOR_TOOLS="livewire, grabcut", PICTURE_CACHE_MB="64")
    assert (settings.loop_host, settings.port, settings.picture_cache_mb) == ("loop", 9000, 64)
    assert settings.tool_names == ["livewire", "grabcut"]


def test_a_model_comes_first_unless_somebody_says_where() -> None:
    model = {"PROMPT_ENCODER": "/models/e.onnx", "PROMPT_DECODER": "/models/d.onnx"}
    settings = load(**model)
    assert settings.tool_names == ["prompt", "grabcut", "livewire"]
    assert settings.prompt_encoder == Path("/models/e.onnx")
    assert load(**model, ANNOTATOR_TOOLS="grabcut,prompt").tool_names == ["grabcut", "prompt"]


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"PROMPT_DECODER": "d.onnx"}, "set both or neither"),
        ({"ANNOTATOR_TOOLS": ","}, "ANNOTATOR_TOOLS"),
        ({"PICTURE_CACHE_MB": "1"}, "PICTURE_CACHE_MB is '1'"),
        ({"FORGET_AFTER_MINUTES": "nan"}, "FORGET_AFTER_MINUTES is 'nan'"),
    ],
)
def test_mistakes_are_sentences(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsInvalid, match=sentence):
        load(**environ)
