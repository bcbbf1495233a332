"""Google's compiler for the Edge TPU, where it is installed: https://coral.ai/docs/edgetpu/compiler/."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from converter_companion.pairs.base import Work
from models.bundle import sha256_of
from models.bundle_format import WeightsSpec
from models.errors import ModelFailed

COMPILER = "edgetpu_compiler"
WITHIN_S = 600.0


def weights_beside(work: Work, weights: WeightsSpec) -> list[WeightsSpec]:
    """Those for the Edge TPU, made of the int8 file `weights` in `work.out`; none without a compiler, or where it fails.

    What others run is no worse for that: `work.left_out` gets the compiler's words, and the conversion goes on.
    """
    try:
        compiled = compile_into(work.out, weights, work.stopped)
    except ModelFailed as error:
        work.left_out.append(f"There are no weights for the Edge TPU: {error}")
        return []
    return [] if compiled is None else [compiled]


def compile_into(folder: Path, weights: WeightsSpec, stopped: threading.Event) -> WeightsSpec | None:
    """Compile the int8 file `weights` in `folder` for the Edge TPU, beside it; None where there is no compiler.

    What the Edge TPU cannot compute stays with the CPU: the compiled file runs everything. Raises `ModelFailed` if the
    compiler fails. Inputs and outputs stay as they are, in their order.
    """
    compiler = shutil.which(COMPILER)
    if compiler is None or stopped.is_set():
        return None
    source = folder / weights.file
    with tempfile.TemporaryDirectory(prefix="edgetpu-") as out:
        # -s prints which operations the Edge TPU takes; the compiled file is called NAME_edgetpu.tflite.
        command = [compiler, "-s", "-o", out, str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModelFailed(f"{COMPILER} did not compile {source.name}: {error}") from error
        compiled = Path(out) / f"{source.stem}_edgetpu.tflite"
        if done.returncode != 0 or not compiled.is_file():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise ModelFailed(
                f"{COMPILER} did not compile {source.name}: {said[-1][:300] if said else 'it does not say why'}"
            )
        target = folder / compiled.name
        shutil.copyfile(compiled, target)
    return weights.model_copy(update={"accelerator": "edgetpu", "file": target.name, "sha256": sha256_of(target)})
