"""ONNX to ONNX in int8, for processors: static quantization, calibrated on pictures. A tool, not a pair of the Loop's."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter_companion import describing, pictures
from converter_companion.pairs.base import Work
from models.bundle import sha256_of
from models.bundle_format import WeightsSpec
from models.errors import BundleError, InvalidInput
from models.runtimes.pixels import to_tensor

INT8_FILE = "model_int8.onnx"


class OnnxToInt8:
    """See `converter_companion.pairs.base.Converter`. Weights and activations in int8, input and outputs in float."""

    source = "onnx"
    target = "onnx_int8"
    compared = True

    def convert(self, work: Work) -> None:
        """See `converter_companion.pairs.base.Converter.convert`."""
        weights = _float_weights(work)
        if not work.pictures:
            raise InvalidInput(pictures.NONE_TO_CALIBRATE)
        seen = pictures.calibration(work.pictures, weights.input)
        work.progress(0.1, "calibrating")
        with tempfile.TemporaryDirectory(prefix="onnx-") as folder, _quiet():
            _quantize(work.source.weights_path(weights), work.out / INT8_FILE, weights, seen, Path(folder))
        made = weights.model_copy(
            update={
                "file": INT8_FILE,
                "sha256": sha256_of(work.out / INT8_FILE),
                "accelerator": "cpu",
                "quantized": True,
            }
        )
        describing.write(work.out, describing.described(work.source, "onnx", [made]))


def _float_weights(work: Work) -> WeightsSpec:
    inference = work.source.model.inference
    found = [each for each in inference.weights if each.runtime == "onnx"] if inference is not None else []
    single = [each for each in found if each.input.dtype == "float32"]
    if not single:
        raise BundleError(
            "This bundle has no ONNX weights with float32 input that model.json describes under 'inference'."
        )
    return single[0]


def _quantize(source: Path, target: Path, weights: WeightsSpec, seen: NDArray[np.uint8], scratch: Path) -> None:
    from onnxruntime import InferenceSession
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = InferenceSession(str(source), providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc] # the library has no types
        def __init__(self) -> None:
            self._rest: Iterator[NDArray[np.uint8]] = iter(seen)

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            picture = next(self._rest, None)
            if picture is None:
                return None
            return {name: to_tensor(picture, weights.input, np.dtype(np.float32))}

    prepared = scratch / "prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


@contextlib.contextmanager
def _quiet() -> Any:
    """It prints advice about how to call it."""
    root = logging.getLogger()
    disabled = root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
