"""The converter's own settings, beside those of all companions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from companions.settings import CompanionSettings
from converter_companion.report import Limits
from models.setting_types import named

_FORMAT = r"[a-z0-9_.-]+"
_PAIR = re.compile(rf"({_FORMAT}):({_FORMAT})")
_DEFAULTS = Limits()


class ConverterSettings(CompanionSettings):
    """See `companions.settings.CompanionSettings`. The limits are those of quantized weights: see `Limits` for others."""

    companion: ClassVar[str] = "converter"

    port: Annotated[int, named("NODE_PORT")] = Field(default=8034, ge=0, le=65535, description="TCP port of the server")
    litert_tools_python: Path | None = Field(
        default=None, description="Python that can import litert_torch; none: the one that install-tools installed"
    )
    converter_pairs: list[str] = Field(
        default_factory=lambda: ["appliance_pytorch:litert", "appliance_pytorch:onnx"],
        description="pairs of formats, SOURCE:TARGET, that the node converts",
    )
    poll_seconds: float = Field(default=60.0, gt=0, le=86400, description="seconds between two looks at the Loop")
    calibration_pictures: int = Field(
        default=128,
        ge=8,
        le=2000,
        description="pictures of a project that are downloaded to calibrate and compare with",
    )
    max_model_mb: int = Field(default=2048, ge=1, description="largest model that is downloaded, MiB")
    parity_unmatched: float = Field(
        default=_DEFAULTS.unmatched,
        ge=0,
        le=1,
        description="largest share of detections (classifications: of pictures) that do not match their source's",
    )
    parity_mean_shift: float = Field(
        default=_DEFAULTS.mean_shift, gt=0, description="largest mean shift of boxes, pixels of the model's input"
    )
    parity_largest_shift: float = Field(
        default=_DEFAULTS.largest_shift, gt=0, description="largest shift of one box, pixels of the model's input"
    )
    parity_score_drift: float = Field(
        default=_DEFAULTS.score_drift, gt=0, le=1, description="largest mean difference of confidences"
    )
    parity_map_loss: float = Field(
        default=_DEFAULTS.map_loss,
        ge=0,
        le=1,
        description="largest loss of mAP50 (classifications: of accuracy), where pictures are annotated",
    )
    parity_output_error: float = Field(
        default=_DEFAULTS.output_error,
        gt=0,
        description="largest mean difference of a raw output, relative to its spread",
    )

    @field_validator("converter_pairs")
    @classmethod
    def _pairs_have_two_ends(cls, pairs: list[str]) -> list[str]:
        for pair in pairs:
            ends = _PAIR.fullmatch(pair)
            if ends is None or ends[1] == ends[2]:
                raise ValueError(f"{pair!r} is no pair of two formats; expected appliance_pytorch:litert, for example")
        return list(dict.fromkeys(pairs))

    @property
    def limits(self) -> Limits:
        """How far quantized weights may be from their source."""
        values: dict[str, Any] = {name: getattr(self, f"parity_{name}") for name in Limits.model_fields}
        return Limits(**values)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Source and target of each pair."""
        return [(source, target) for source, _, target in (pair.partition(":") for pair in self.converter_pairs)]
