"""`model.json`: who a model is (upstream's keys) and how it is run (our one key, `inference`).

The upstream keys are those that a Learning Loop writes into every zip that it serves; unknown ones survive a round
trip. Everything that says how the weights are run stands under `inference`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.wire.model_information import Category

INFERENCE_VERSION = 1
"""The only version of the `inference` block that this program understands."""

SCORE_THRESHOLD = 0.3
"""Confidence (0..1) below which a detection is not shown, where neither the trainer nor the bundle says."""

Accelerator = Literal["cpu", "edgetpu", "cuda", "any"]


class InputSpec(BaseModel):
    """What the weights want to see: `real = (pixel * scale) + offset`, pixel being uint8 0..255.

    `scale` and `offset` apply to float inputs only: an integer input takes the pixels as they are (uint8), or shifted
    by the quantization that the file itself names (int8).
    """

    model_config = ConfigDict(extra="allow")

    width: int = Field(gt=0, le=8192, description="pixels")
    height: int = Field(gt=0, le=8192, description="pixels")
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    channels: Literal["RGB", "BGR"] = "RGB"
    dtype: Literal["uint8", "int8", "float32", "float16"] = "uint8"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)
    resize: Literal["stretch", "letterbox"] = "stretch"


class WeightsSpec(BaseModel):
    """One weight file of a bundle and the runtime that it is for."""

    model_config = ConfigDict(extra="allow")

    runtime: str = Field(pattern=r"^[a-z0-9_.-]{1,64}$", description="name of an entry in `models.runtimes`")
    accelerator: Accelerator = "any"
    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", description="file name inside the bundle")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    input: InputSpec
    outputs: dict[str, Annotated[int, Field(ge=0, le=255)]] = Field(
        default_factory=dict, description="what the head calls an output -> its index among the runtime's outputs"
    )


class InferenceSpec(BaseModel):
    """How a model is run. `class_indices` runs parallel to the categories: the class number that means each of them."""

    model_config = ConfigDict(extra="allow")

    version: int = INFERENCE_VERSION
    head: str = Field(pattern=r"^[a-z0-9_.-]{1,64}$", description="name of an entry in `models.heads`")
    family: str | None = None
    weights: list[WeightsSpec] = Field(min_length=1, max_length=16)
    class_indices: list[Annotated[int, Field(ge=0)]] | None = None
    score_threshold: float = Field(default=SCORE_THRESHOLD, ge=0.0, le=1.0)
    nms_iou: float = Field(default=0.5, gt=0.0, le=1.0)
    head_options: dict[str, Any] = Field(default_factory=dict, description="what the head needs beside its outputs")


class ModelJson(BaseModel):
    """The whole of `model.json`. Upstream's keys are optional here: a zip built by hand may lack them."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str | None = None
    host: str | None = None
    organization: str | None = None
    project: str | None = None
    version: str | None = None
    format: str | None = None
    resolution: int | None = Field(default=None, gt=0, le=8192, description="larger side of the input, pixels")
    categories: list[Category] = Field(default_factory=list, max_length=10_000)
    model_size: str | None = None
    conf_threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    inference: InferenceSpec | None = None

    @model_validator(mode="after")
    def _class_indices_run_parallel(self) -> ModelJson:
        indices = self.inference.class_indices if self.inference else None
        if indices is not None and len(indices) != len(self.categories):
            raise ValueError(
                f"{len(indices)} class_indices for {len(self.categories)} categories; they must run parallel"
            )
        if indices is not None and len(set(indices)) != len(indices):
            raise ValueError("class_indices names a class twice")
        return self

    @property
    def score_threshold(self) -> float:
        """Confidence (0..1) below which a detection is not shown: the trainer's choice, else the bundle's."""
        if self.conf_threshold is not None:
            return self.conf_threshold
        return self.inference.score_threshold if self.inference else SCORE_THRESHOLD

    def categories_by_class(self) -> dict[int, Category]:
        """Class number as the model's outputs have it -> category."""
        indices = self.inference.class_indices if self.inference else None
        return dict(zip(indices if indices is not None else range(len(self.categories)), self.categories, strict=True))
