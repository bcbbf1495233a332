"""What every head does with raw outputs: find one, check it, turn it into scores.

A message about an output says its name in the bundle, what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import BundleError, OutputsImplausible
from models.heads.base import Candidates, HeadContext

Activation = Literal["none", "sigmoid", "softmax"]

SCORE_SLACK = 0.05
"""Quantized probabilities can leave 0..1 by a few steps; what leaves it further is no probability."""


class Options(BaseModel):
    """Base of what a head reads from `head_options`. Unknown keys are refused: they are misspelt ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OptionsType = TypeVar("OptionsType", bound=Options)


def read_options(kind: type[OptionsType], context: HeadContext) -> OptionsType:
    """The bundle's `head_options`, checked. Raises `BundleError`."""
    try:
        return kind.model_validate(dict(context.options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["head_options", *(str(part) for part in first["loc"])])
        known = ", ".join(kind.model_fields)
        raise BundleError(f"{where} of the bundle is wrong: {first['msg']}. This head knows {known}.") from error


def pick(outputs: Sequence[NDArray[np.float32]], context: HeadContext, name: str) -> NDArray[np.float32]:
    """The output that the bundle calls `name`. Raises `OutputsImplausible` where the model has no such output."""
    if name not in context.outputs:
        raise OutputsImplausible(
            f"The bundle does not say which output is '{name}'; the model has {len(outputs)} with shapes {shapes(outputs)}."
        )
    index = context.outputs[name]
    if not 0 <= index < len(outputs):
        raise OutputsImplausible(
            f"The bundle says that '{name}' is output {index}; the model has {len(outputs)}, counted from 0."
        )
    return outputs[index]


def single(outputs: Sequence[NDArray[np.float32]], context: HeadContext, name: str) -> NDArray[np.float32]:
    """The output called `name`, or the only one there is. Raises `OutputsImplausible`."""
    if name in context.outputs:
        return pick(outputs, context, name)
    if len(outputs) == 1:
        return outputs[0]
    raise OutputsImplausible(
        f"The model has {len(outputs)} outputs with shapes {shapes(outputs)}; "
        f"the bundle has to say which one is '{name}'."
    )


def boxes_and(
    outputs: Sequence[NDArray[np.float32]], context: HeadContext, name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (1, N, 4) and the output called `name`, (1, N, C), of a model that has these two.

    What the bundle does not name is told by its shape. Raises `OutputsImplausible` where that leaves a doubt.
    """
    if "boxes" in context.outputs and name in context.outputs:
        boxes, values = pick(outputs, context, "boxes"), pick(outputs, context, name)
    else:
        fours = [index for index, output in enumerate(outputs) if output.ndim == 3 and output.shape[2] == 4]
        if len(outputs) != 2 or len(fours) != 1:
            raise OutputsImplausible(
                f"The model has {len(outputs)} outputs with shapes {shapes(outputs)}; from these alone it cannot be "
                f"told which are boxes (1, N, 4) and {name} (1, N, C), so the bundle has to name both under 'outputs'."
            )
        boxes, values = outputs[fours[0]], outputs[1 - fours[0]]
    require_shape(boxes, "boxes", (1, "N", 4))
    require_shape(values, name, (1, boxes.shape[1], "C"))
    require_finite(boxes, "boxes")
    require_finite(values, name)
    return boxes, values


def shapes(outputs: Sequence[NDArray[np.float32]]) -> str:
    """The shapes of all outputs, for a message."""
    return ", ".join(str(output.shape) for output in outputs) or "none"


def require_shape(output: NDArray[np.float32], name: str, expected: tuple[int | str, ...]) -> None:
    """Raise `OutputsImplausible` unless the shape is `expected`, a letter standing for any number."""
    fits = output.ndim == len(expected) and all(
        isinstance(wanted, str) or wanted == length for wanted, length in zip(expected, output.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(part) for part in expected)
        raise OutputsImplausible(f"Output '{name}' has shape {output.shape}; expected ({wanted}).")


def require_finite(output: NDArray[np.float32], name: str) -> None:
    """Raise `OutputsImplausible` where anything is NaN or infinite."""
    finite = np.isfinite(output)
    if not finite.all():
        bad = output.size - int(np.count_nonzero(finite))
        raise OutputsImplausible(
            f"Output '{name}' of shape {output.shape} has {bad} values that are NaN or infinite; "
            f"expected finite numbers."
        )


def require_classes(columns: int, name: str, context: HeadContext) -> None:
    """Raise `OutputsImplausible` where a model tells fewer classes than the bundle has categories."""
    if columns < max(1, context.class_count):
        raise OutputsImplausible(
            f"Output '{name}' tells {columns} classes apart; expected at least {max(1, context.class_count)}, "
            f"as many as the bundle has categories."
        )


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logistic function, float32. Beyond +-80 it is 0 or 1 in float32 anyway, and `exp` would overflow."""
    one = np.float32(1.0)
    result: NDArray[np.float32] = one / (one + np.exp(-np.clip(values, -80.0, 80.0)))
    return result


def best_scores(
    values: NDArray[np.float32], activation: Activation, name: str, classes: slice = slice(None)
) -> NDArray[np.float32]:
    """Score of each row's best class: (N, C) values -> (N,) float32, 0..1.

    `classes`: the columns that are classes; with softmax the others (background, no object) take their share of the
    sum. Raises `OutputsImplausible` where values that need no activation are no probabilities.
    """
    best = values[:, classes].max(axis=1)
    if activation == "sigmoid":
        return sigmoid(best)
    if activation == "softmax":
        top = values.max(axis=1)
        with np.errstate(over="ignore"):  # what is so far below the top has no share anyway
            shares: NDArray[np.float32] = np.exp(best - top) / np.exp(values - top[:, np.newaxis]).sum(axis=1)
        return shares
    return probabilities(best, name)


def probabilities(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Values that already are 0..1, cut to it exactly. Raises `OutputsImplausible` where they are something else."""
    if values.size and (values.min() < -SCORE_SLACK or values.max() > 1.0 + SCORE_SLACK):
        raise OutputsImplausible(
            f"Output '{name}' has scores from {values.min():.3g} to {values.max():.3g}; expected 0 to 1. "
            f"If they are logits, head_options.activation has to say sigmoid or softmax."
        )
    return np.clip(values, 0.0, 1.0)


def candidates(
    boxes: NDArray[np.float32], classes: NDArray[np.int64], scores: NDArray[np.float32], name: str
) -> Candidates:
    """Candidates of the right dtypes, also where there are none. `boxes`: (N, 4) x1, y1, x2, y2, pixels of the input.

    A box that quantization turned inside out becomes one of no extent. Raises `OutputsImplausible` where decoding
    output `name` left the range of numbers.
    """
    boxes = boxes.astype(np.float32, copy=True).reshape(-1, 4)
    require_finite(boxes, f"{name} (decoded)")
    np.maximum(boxes[:, 2:], boxes[:, :2], out=boxes[:, 2:])
    return Candidates(boxes, classes.astype(np.int64, copy=False), scores.astype(np.float32, copy=False))
