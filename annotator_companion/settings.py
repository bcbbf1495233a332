"""The settings of an annotator; the rest is `companions.settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from companions.settings import CompanionSettings
from models.setting_types import named


class AnnotatorSettings(CompanionSettings):
    """See `CompanionSettings`."""

    companion: ClassVar[str] = "annotator"

    port: Annotated[int, named("NODE_PORT")] = Field(default=8044, ge=0, le=65535, description="TCP port of the server")
    annotator_tools: list[str] = Field(
        default_factory=lambda: ["grabcut", "livewire"],
        min_length=1,
        description="tools by name, the one that a page begins with first; the key t goes on to the next",
    )
    prompt_encoder: Path | None = Field(
        default=None, description="ONNX encoder of a promptable model, for the tool prompt; needs prompt_decoder, too"
    )
    prompt_decoder: Path | None = Field(default=None, description="its ONNX decoder")
    picture_cache_mb: int = Field(
        default=512,
        ge=16,
        le=65536,
        description="MiB of decoded pictures that are kept, and that drawings may hold beside",
    )
    forget_after_minutes: float = Field(
        default=60.0, gt=0, le=10080, allow_inf_nan=False, description="a page without input is forgotten after so long"
    )

    @model_validator(mode="after")
    def _both_halves(self) -> AnnotatorSettings:
        if (self.prompt_encoder is None) != (self.prompt_decoder is None):
            raise ValueError("PROMPT_ENCODER and PROMPT_DECODER are two halves of one model: set both or neither")
        return self

    @property
    def tool_names(self) -> list[str]:
        """`prompt` comes first where a model is set and nobody said where it should come: it is what it was set for."""
        if self.prompt_encoder is None or "prompt" in self.annotator_tools:
            return self.annotator_tools
        return ["prompt", *self.annotator_tools]
