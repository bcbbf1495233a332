"""`python -m trainer_companion.export BUNDLE OUT`: a trained model as float ONNX, as a bundle of its own.

A program, so that the node needs no PyTorch of its own and what is left behind is freed.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models.bundle import MODEL_JSON, open_bundle, read_document
from models.errors import DetectorApplianceError
from models.files import FILE_SYSTEM

WEIGHTS = "model.onnx"


def export(bundle_folder: Path, out: Path) -> Path:
    """Write the bundle `out`, whose model.json comes last: it says that all is there. Blocks for seconds.

    Raises `BundleError`.
    """
    import torch

    from networks import bundles
    from networks.exporting import to_onnx

    torch.set_num_threads(1)
    bundle = open_bundle(bundle_folder)
    out.mkdir(parents=True, exist_ok=True)
    weights = to_onnx(bundles.read(bundle), out / WEIGHTS)
    document = copy.deepcopy(read_document(bundle_folder))
    document["inference"]["weights"] = [weights.model_dump(mode="json", exclude_none=True)]
    document.pop("format", None)
    FILE_SYSTEM.write_atomically(out / MODEL_JSON, json.dumps(document, indent=1).encode())
    return out


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 it worked, 1 it did not."""
    try:
        export(Path(arguments[0]), Path(arguments[1]))
    except DetectorApplianceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
