"""What a bundle is for, also where it has no `inference` block: what can be recognised of its only weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from models import runtimes
from models.bundle import Bundle
from models.bundle_format import InferenceSpec, InputSpec, WeightsSpec
from models.errors import BundleError
from models.heads.recognise import Recognised, recognise
from models.runtimes.base import Choice, TensorSpec

_RUNTIME_OF_SUFFIX = {".tflite": "litert", ".onnx": "onnx"}
_DTYPES = get_args(InputSpec.model_fields["dtype"].annotation)


def carried(bundle: Bundle) -> list[tuple[str, str]]:
    """Runtime and accelerator (as `WeightsSpec` has them) of each weight file, told without loading any."""
    if bundle.model.inference is None:
        return [(_RUNTIME_OF_SUFFIX[file.suffix], "any") for file in bundle.weight_files]
    return [(weights.runtime, weights.accelerator) for weights in bundle.model.inference.weights]


def inference_of(bundle: Bundle, cache: Path) -> InferenceSpec:
    """How the bundle is run: what it says, or what can be recognised from its only weight file.

    Raises `BundleError` saying what `model.json` must tell, `ModelFailed` if the file does not load.
    """
    if bundle.model.inference is not None:
        return bundle.model.inference
    file = bundle.weight_files[0]
    runtime = runtimes.runtime(_RUNTIME_OF_SUFFIX[file.suffix])
    try:
        guess = WeightsSpec(runtime=runtime.name, file=file.name, accelerator="cpu", input=InputSpec(width=1, height=1))
    except ValidationError as error:
        raise BundleError(
            f"The weight file is called {file.name!r}; its name may have letters, digits, dots, hyphens and underscores only"
        ) from error
    loaded = runtime.load(file, guess, Choice(runtime.name, "cpu", 1), cache)
    try:
        outputs, declared = list(loaded.outputs), loaded.input
    finally:
        loaded.close()
    found_input = input_of(declared)
    seen: Recognised | None = None
    if found_input is not None:
        size = (found_input.width, found_input.height)
        seen = recognise(outputs, size, len(bundle.model.categories) or None)
    if seen is None or found_input is None:
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise BundleError(
            f"{file.name} has the input {list(declared.shape)} ({declared.dtype}) and the outputs {shapes}, which fit no "
            f"known head with {len(bundle.model.categories)} categories for sure: say it in model.json under "
            '"inference" (head, weights, input)'
        )
    weights = guess.model_copy(
        update={"input": _as_trained(found_input, seen), "outputs": seen.outputs, "accelerator": "any"}
    )
    return InferenceSpec(head=seen.head, weights=[weights], head_options=seen.options)


def input_of(spec: TensorSpec) -> InputSpec | None:
    """What a declared input tensor says of itself; None where it is no picture of fixed size. Floats are taken as 0..1."""
    match spec.shape:
        case (_, height, width, 3) if height > 0 and width > 0:
            layout = "NHWC"
        case (_, 3, height, width) if height > 0 and width > 0:
            layout = "NCHW"
        case _:
            return None
    if spec.dtype not in _DTYPES:
        return None
    scale = 1 / 255 if spec.dtype.startswith("float") else 1.0
    return InputSpec.model_validate(
        {"width": width, "height": height, "layout": layout, "dtype": spec.dtype, "scale": scale}
    )


def _as_trained(found: InputSpec, seen: Recognised) -> InputSpec:
    """What the input tensor cannot say, but every known training of such a head does."""
    if seen.head != "yolo":
        return found
    trained: dict[str, Any] = {"resize": "letterbox"}
    if seen.options.get("layout") == "yolox":  # reads pictures as OpenCV does: BGR, 0..255
        trained |= {"channels": "BGR", "scale": 1.0}
    return found.model_copy(update=trained)
