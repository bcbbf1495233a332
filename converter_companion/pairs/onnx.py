"""PyTorch to ONNX: float32 and float16 in one bundle."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

from converter_companion import describing
from converter_companion.pairs.base import Work
from models.bundle import sha256_of
from models.bundle_format import WeightsSpec
from models.errors import ModelFailed

FLOAT32_FILE = "model.onnx"
FLOAT16_FILE = "model_float16.onnx"


class PytorchToOnnx:
    """See `converter_companion.pairs.base.Converter`."""

    source = "appliance_pytorch"
    target = "onnx"
    compared = True

    def convert(self, work: Work) -> None:
        """See `converter_companion.pairs.base.Converter.convert`."""
        from networks import bundles, exporting

        work.progress(0.0, "loading the network")
        network = bundles.read(work.source)
        work.progress(0.1, "exporting to ONNX")
        weights = [exporting.to_onnx(network, work.out / FLOAT32_FILE)]
        if not work.stopped.is_set():
            work.progress(0.8, "writing float16 weights")
            weights.append(to_float16(work.out, weights[0]))
        describing.write(work.out, describing.described(work.source, self.target, weights))


def to_float16(folder: Path, weights: WeightsSpec) -> WeightsSpec:
    """Write `FLOAT16_FILE` beside a float32 file: half the size, inside in half precision; input and outputs stay float32.

    It is for graphics cards, which are twice as fast with it; a processor has to convert every number. Raises `ModelFailed`.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model: Any = onnx.load(str(folder / weights.file))
        halved = convert_float_to_float16(model, keep_io_types=True)
        target = folder / FLOAT16_FILE
        onnx.save(halved, str(target))
    made = weights.model_copy(update={"file": target.name, "sha256": sha256_of(target), "half": True})
    names = [each.name for each in halved.graph.output]
    if names != [each.name for each in model.graph.output]:
        raise ModelFailed("Writing float16 weights lost the order of the outputs.")
    return made


@contextlib.contextmanager
def _quiet() -> Any:
    """It warns of every weight that half precision rounds to zero."""
    import warnings

    root = logging.getLogger()
    level = root.level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
