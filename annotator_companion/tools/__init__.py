"""Tools by name: those that are built in, and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annotator_companion.tools.base import Tool
from models import plugins
from models.errors import SettingsInvalid

GROUP = "detector_appliance.annotators"
"""Entry-point group in which other packages offer tools."""

PROMPT = "prompt"
"""The one that needs a model."""

BUILT_IN = {
    "grabcut": "annotator_companion.tools.grabcut:GrabCut",
    "livewire": "annotator_companion.tools.livewire:LiveWire",
    PROMPT: "annotator_companion.tools.prompt:Prompt",
}
"""Name in the settings -> where the class is."""


def tools(names: Sequence[str], prompt_encoder: Path | None = None, prompt_decoder: Path | None = None) -> list[Tool]:
    """New instances of tools, in that order. Blocks: a model may have to be loaded.

    Raises `SettingsInvalid` for `prompt` without its model, `BundleError` for a name that nobody offers, `ModelFailed`
    where a package is broken or the model cannot be loaded, `RuntimeMissing` without ONNX Runtime.
    """
    return [_tool(name, prompt_encoder, prompt_decoder) for name in dict.fromkeys(names)]


def _tool(name: str, encoder: Path | None, decoder: Path | None) -> Tool:
    if name != PROMPT:
        made: Tool = plugins.create(GROUP, BUILT_IN, name, needs=("name", "begin"))
        return made
    if encoder is None or decoder is None:
        raise SettingsInvalid("The tool prompt needs a model: set PROMPT_ENCODER and PROMPT_DECODER to its ONNX files.")
    prompt: Tool = plugins.find(GROUP, BUILT_IN, name)(encoder, decoder)
    return prompt
