"""PyTorch to LiteRT: float, full int8, and Edge TPU weights where Google's compiler is installed, in one bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter_companion import describing, edgetpu, outputs, pictures, tools
from converter_companion.litert_child import BUNDLE, CALIBRATION, FLOAT, INT8
from converter_companion.pairs.base import Work
from models import runtimes
from models.bundle import Bundle, sha256_of
from models.bundle_format import InputSpec, WeightsSpec
from models.errors import BundleError, InvalidInput, NotApplicable
from models.fastest import sample
from models.runtimes.base import Choice

COMPARED = 4
"""Pictures on which the outputs of source and result are told apart."""

UNFIT = {
    "detr": "Transformer detectors (D-FINE, RT-DETR) compute what LiteRT has no operations for: sampling at learnt places, "
    "and choosing the best of thousands of proposals. Devices run them as onnx.",
}
"""Head of a network -> why it cannot be converted, known beforehand. Others fail in the conversion, with its words."""

FLOAT_FILE = "model.tflite"
INT8_FILE = "model_int8.tflite"


class PytorchToLiteRt:
    """See `converter_companion.pairs.base.Converter`. Without pictures there is no calibration, and so no conversion."""

    source = "appliance_pytorch"
    target = "litert"
    compared = True

    def convert(self, work: Work) -> None:
        """See `converter_companion.pairs.base.Converter.convert`."""
        source = torch_weights(work.source)
        inference = work.source.model.inference
        if inference is not None and inference.head in UNFIT:
            raise NotApplicable(UNFIT[inference.head])
        if not work.pictures:
            raise InvalidInput(pictures.NONE_TO_CALIBRATE)
        python = tools.find_python(work.tools_python, work.data_folder)
        seen = pictures.calibration(work.pictures, source.input)
        with tempfile.TemporaryDirectory(prefix="litert-") as folder:
            job = Path(folder)
            shutil.copytree(work.source.folder, job / BUNDLE)
            np.save(job / CALIBRATION, seen, allow_pickle=False)
            tools.run(
                python,
                ["-m", "converter_companion.litert_child", str(job)],
                lambda share, doing: work.progress(0.9 * share, doing),
                stopped=work.stopped,
            )
            shutil.copyfile(job / FLOAT, work.out / FLOAT_FILE)
            shutil.copyfile(job / INT8, work.out / INT8_FILE)
        work.progress(0.9, "looking which output is which")
        # A drawn scene beside real pictures: on an empty background all outputs may be alike.
        shown = [sample(source.input.width, source.input.height), *seen[:COMPARED]]
        said = _infer(work.source.weights_path(source), source, shown)
        channels_last = source.input.model_copy(update={"layout": "NHWC"})
        integers = channels_last.model_copy(update={"dtype": "int8"})
        weights = [
            _weights(work.out / FLOAT_FILE, channels_last, source.outputs, shown, said),
            _weights(work.out / INT8_FILE, integers, source.outputs, shown, said),
        ]
        weights += edgetpu.weights_beside(work, weights[1])
        describing.write(work.out, describing.described(work.source, self.target, weights))


def torch_weights(bundle: Bundle) -> WeightsSpec:
    """The weights that PyTorch runs. Raises `BundleError` where a bundle has none."""
    inference = bundle.model.inference
    found = [each for each in inference.weights if each.runtime == "torch"] if inference is not None else []
    if not found:
        raise BundleError("This bundle has no weights for PyTorch; a trained model in format appliance_pytorch has.")
    return found[0]


def _weights(
    path: Path,
    spec: InputSpec,
    names: dict[str, int],
    shown: Sequence[NDArray[np.uint8]],
    said: Sequence[outputs.Outputs],
) -> WeightsSpec:
    """The description of a converted file."""
    guess = WeightsSpec(runtime="litert", accelerator="cpu", file=path.name, input=spec)
    found = outputs.match(names, said, _infer(path, guess, shown))
    return guess.model_copy(update={"sha256": sha256_of(path), "outputs": found})


def _infer(path: Path, weights: WeightsSpec, shown: Sequence[NDArray[np.uint8]]) -> list[outputs.Outputs]:
    runtime = runtimes.runtime(weights.runtime)
    model = runtime.load(path, weights, Choice(weights.runtime, "cpu", 1), path.parent)
    try:
        return [model.infer(picture) for picture in shown]
    finally:
        model.close()
