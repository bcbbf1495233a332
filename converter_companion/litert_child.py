"""The step from PyTorch to LiteRT, as a program of its own: `python -m converter_companion.litert_child JOB`.

The libraries for it cannot be installed beside the rest of this program, so it runs under a Python of its own (see
`tools`) and imports nothing but the networks, the core below them, and those libraries.

JOB is a folder with `bundle/` (appliance_pytorch) and `calibration.npy` (uint8 RGB, pictures x height x width x 3, as the
network sees them). What comes out lies in it afterwards: `float.tflite` and `int8.tflite`. stdout has one JSON object a
line: `{"event": "progress", "share": 0..1, "doing": TEXT}`, at last `{"event": "done"}` or `{"event": "failed", "message":
SENTENCE}`; everything that the libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLOAT = "float.tflite"
INT8 = "int8.tflite"
BUNDLE = "bundle"
CALIBRATION = "calibration.npy"

AT_ONCE = 16
"""Pictures that are held as floats while the network looks at them."""

Say = Callable[..., None]


def main() -> int:
    """Do the job. Exit status 0: done; 1: said why it failed."""
    job = Path(sys.argv[1])
    # The libraries print what they like, from C++ too: stdout is kept for our lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(event: str, **more: Any) -> None:
        lines.write(json.dumps({"event": event, **more}) + "\n")
        lines.flush()

    try:
        convert(job, say)
    except Exception as error:  # the parent shows the sentence, and stderr has the traceback
        say("failed", message=f"{type(error).__name__}: {str(error).strip()[:1000]}")
        raise
    say("done")
    return 0


def convert(job: Path, say: Say) -> None:
    """Write both files. Raises what the libraries raise."""
    say("progress", share=0.0, doing="loading PyTorch and LiteRT")
    import litert_torch
    import numpy as np
    import torch

    from models.bundle import open_bundle
    from networks.bundles import read

    torch.set_num_threads(1)
    network = read(open_bundle(job / BUNDLE)).eval()
    spec = network.input
    say("progress", share=0.3, doing="converting the network")
    # Devices hold pictures with the channels last, and so does every kernel of LiteRT.
    channels_last = litert_torch.to_channel_last_io(network, args=[0])
    converted = litert_torch.convert(channels_last, (torch.rand(1, spec.height, spec.width, 3),))
    converted.export(str(job / FLOAT))
    pictures = np.load(job / CALIBRATION, mmap_mode="r", allow_pickle=False)
    if len(pictures):
        quantize(
            job / FLOAT,
            job / INT8,
            pictures,
            lambda these: these.astype(np.float32) * np.float32(spec.scale) + np.float32(spec.offset),
            lambda share, doing: say("progress", share=0.7 + 0.3 * share, doing=doing),
        )


def quantize(
    source: Path, target: Path, pictures: Any, as_seen: Callable[[Any], Any], progress: Callable[[float, str], None]
) -> None:
    """Full int8, weights and activations, input and output: ranges from what the pictures (N, H, W, 3) do in the network.

    `as_seen` makes of pixels what the network is shown. The interpreter itself notes the ranges, which takes a fifth of the
    time of the quantizer's other way, to read every tensor after each picture. A range holds all that was seen: the usual
    moving average of extremes cuts off what is largest, and here that is the surest scores and the widest boxes.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    [(name, signature)] = Interpreter(str(source)).get_signature_list().items()
    [argument] = signature["inputs"]
    wanted = recipe.static_wi8_ai8()
    recipes = RecipeManager()
    recipes.load_quantization_recipe(wanted)
    seen = Calibrator(
        str(source),
        num_threads=1,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update,
    )
    for first in range(0, len(pictures), AT_ONCE):
        progress(0.8 * first / len(pictures), "quantizing to int8: looking at pictures")
        these = [{argument: as_seen(picture[None])} for picture in pictures[first : first + AT_ONCE]]
        seen.calibrate({name: these}, recipes)
    progress(0.8, "quantizing to int8")
    made = quantizer.Quantizer(str(source), wanted)
    made.quantize(seen.get_model_qsvs()).export_model(str(target), overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
