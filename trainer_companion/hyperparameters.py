"""Numbers that a person may turn before a training, each with a unit, a range, a default and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import InvalidInput


class Hyperparameters(BaseModel):
    """What every recipe understands. A recipe adds its own in a subclass; nothing else is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        json_schema_extra={"unit": "passes"},
        description="How often every picture is looked at. Without it and without minutes: 100.",
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        json_schema_extra={"unit": "min"},
        description="The learning rate falls to zero within this time, which then ends the training.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        le=10_000,
        json_schema_extra={"unit": "evaluations"},
        description="Ends the training when so many evaluations in a row brought nothing better; 0 is never.",
    )
    resolution: int | None = Field(
        default=None,
        ge=64,
        le=1280,
        multiple_of=32,
        json_schema_extra={"unit": "px"},
        description="Larger side of the network's input. Without it: that of the variant.",
    )
    keep_aspect: bool = Field(
        default=False,
        json_schema_extra={"unit": ""},
        description="The input has the pictures' usual proportions, in place of a square.",
    )
    max_batch_size: int = Field(
        default=0,
        ge=0,
        le=4096,
        json_schema_extra={"unit": "pictures"},
        description="Pictures a step and process, at most; the card's memory may allow fewer. 0: 8 on a CPU, 64 on a card.",
    )
    learning_rate: float = Field(
        default=3e-3,
        gt=0,
        le=1.0,
        json_schema_extra={"unit": "per step"},
        description="Highest learning rate of AdamW, reached after the warm-up.",
    )
    weight_decay: float = Field(
        default=0.02,
        ge=0,
        le=1.0,
        json_schema_extra={"unit": "per step and learning rate"},
        description="How strongly AdamW pulls weights (neither biases nor normalization) to zero.",
    )
    warmup: float = Field(
        default=0.03,
        ge=0,
        le=0.5,
        json_schema_extra={"unit": "share"},
        description="Share of the training in which the learning rate rises.",
    )
    ema: float = Field(
        default=0.998,
        ge=0,
        lt=1,
        json_schema_extra={"unit": "per step"},
        description="How much of the mean of all weights so far is kept at each step; that mean is the model.",
    )
    flip_horizontal: bool = Field(
        default=True,
        json_schema_extra={"unit": ""},
        description="Half of the pictures are shown mirrored, left for right. Switch off where sides have a meaning.",
    )
    flip_vertical: bool = Field(
        default=False, json_schema_extra={"unit": ""}, description="Half of the pictures are shown upside down."
    )
    zoom: float = Field(
        default=0.3,
        ge=0,
        le=0.9,
        json_schema_extra={"unit": "share"},
        description="Pictures are shown smaller or larger by up to this share, and moved as far as that leaves room.",
    )
    colour: float = Field(
        default=0.3,
        ge=0,
        le=1,
        json_schema_extra={"unit": "share"},
        description="Brightness, contrast and the balance of colours are changed by up to this share.",
    )
    mosaic: float = Field(
        default=0.0,
        ge=0,
        le=1,
        json_schema_extra={"unit": "share"},
        description="Share of the pictures that are put together of four; none in the last fifth of the training.",
    )
    compute_validation_set: bool = Field(
        default=False,
        strict=True,
        json_schema_extra={"unit": ""},
        description="A tenth of the pictures for training is taken out to choose the best model by.",
    )

    @model_validator(mode="after")
    def _lasts_somehow(self) -> Hyperparameters:
        if self.minutes is not None and self.epochs is not None:
            raise ValueError("epochs and minutes contradict each other: a training ends by one of them; leave one out")
        return self


def with_default(name: str, default: Any) -> Any:
    """The field of that name as every recipe has it, with another default: for the class of a recipe of its own."""
    field = copy(Hyperparameters.model_fields[name])
    field.default = default
    return field


Some = TypeVar("Some", bound=BaseModel)


def parse(kind: type[Some], given: Mapping[str, Any]) -> Some:
    """The hyperparameters of a training. Raises `InvalidInput` with a sentence that names the wrong one."""
    unknown = sorted(set(given) - set(kind.model_fields))
    if unknown:
        raise InvalidInput(
            f"There is no hyperparameter {unknown[0]!r} in this recipe; it has {', '.join(kind.model_fields)}."
        )
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if not name:
            raise InvalidInput(f"{message[:1].upper()}{message[1:]}.") from error
        raise InvalidInput(f"The hyperparameter {name} cannot be {first['input']!r}: {message}.") from error


def table(kind: type[BaseModel]) -> list[tuple[str, str, str, str, str]]:
    """Name, unit, range, default and sentence of each hyperparameter, as text."""
    rows = []
    for name, field in kind.model_fields.items():
        extra = field.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
        default = "" if field.default is None else str(field.default)
        rows.append((name, unit, _range(field.metadata, field.annotation), default, field.description or ""))
    return rows


def _range(constraints: list[Any], annotation: Any) -> str:
    if annotation is bool:
        return "true, false"
    low = high = step = ""
    for constraint in constraints:
        if isinstance(constraint, Ge):
            low = f"{constraint.ge} "
        elif isinstance(constraint, Gt):
            low = f"above {constraint.gt} "
        elif isinstance(constraint, Le):
            high = f"to {constraint.le}"
        elif isinstance(constraint, Lt):
            high = f"to below {constraint.lt}"
        elif isinstance(constraint, MultipleOf):
            step = f", multiples of {constraint.multiple_of}"
    return f"{low}{high}{step}".strip()
