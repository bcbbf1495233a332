"""How a network leaves PyTorch: as ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from models.bundle import sha256_of
from models.bundle_format import WeightsSpec
from networks.base import Network

OPSET = 18

CHECKS = "TRANSFORMERS_DISABLE_TORCH_CHECK"


def to_onnx(network: Network, path: Path) -> WeightsSpec:
    """Write a float32 ONNX file for one picture at a time, weights inside. Blocks for seconds.

    The network is left in evaluation mode, on the CPU.
    """
    network.eval().cpu()
    spec = network.input
    picture = torch.zeros(1, 3, spec.height, spec.width)
    exporters_log = logging.getLogger("torch.onnx")
    level = exporters_log.level
    exporters_log.setLevel(logging.ERROR)  # it tells of every library that is not installed and not needed
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _without_checks():
        warnings.simplefilter("ignore")  # the exporter warns of its own future
        program = torch.onnx.export(
            network,
            (picture,),
            input_names=["pictures"],
            output_names=list(network.output_names),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)
    exporters_log.setLevel(level)
    return WeightsSpec(
        runtime="onnx",
        accelerator="any",
        file=path.name,
        sha256=sha256_of(path),
        input=spec,
        outputs={name: index for index, name in enumerate(network.output_names)},
    )


@contextlib.contextmanager
def _without_checks() -> Iterator[None]:
    """`transformers` asserts shapes inside its networks, which ONNX has no operator for; the shapes are fixed here."""
    before = os.environ.get(CHECKS)
    os.environ[CHECKS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[CHECKS]
        else:
            os.environ[CHECKS] = before
