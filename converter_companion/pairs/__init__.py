"""The pairs of formats between which models are converted: built in, and those of other packages."""

from __future__ import annotations

import contextlib
import functools
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from converter_companion.pairs.base import GROUP, Converter
from models import plugins
from models.errors import BundleError

BUILT_IN = {
    "appliance_pytorch-to-litert": "converter_companion.pairs.litert:PytorchToLiteRt",
    "appliance_pytorch-to-onnx": "converter_companion.pairs.onnx:PytorchToOnnx",
    "onnx-to-onnx_int8": "converter_companion.pairs.onnx_int8:OnnxToInt8",
}
"""SOURCE-to-TARGET -> where the class is; imported when it is asked for."""


def names() -> list[str]:
    """Every pair that there is, sorted."""
    return plugins.names(GROUP, BUILT_IN)


@functools.lru_cache(maxsize=64)
def edition(source: str, target: str) -> str:
    """What tells one version of an own converter from the next; empty for those that are built in. Blocks.

    As it was when first asked: whatever has changed on the disk since, this process runs what it has loaded.
    """
    name = f"{source}-to-{target}"
    if name in BUILT_IN:
        return ""
    found = []
    for point in entry_points(group=GROUP, name=name):
        with contextlib.suppress(ImportError, ValueError, OSError):
            spec = find_spec(point.module)
            if spec is not None and spec.origin is not None:
                found.append(f"{spec.origin} {Path(spec.origin).stat().st_mtime_ns}")
        found.append("" if point.dist is None else f"{point.dist.name} {point.dist.version}")
    return " ".join(sorted(found))


def converter(source: str, target: str) -> Converter:
    """A new converter for a pair. Raises `BundleError` naming the pairs that there are, `ModelFailed` for a broken package."""
    name = f"{source}-to-{target}"
    if name not in names():
        raise BundleError(f"Nothing converts {source} to {target}; there is {', '.join(names())}.")
    found: Converter = plugins.create(GROUP, BUILT_IN, name, needs=("source", "target", "compared", "convert"))
    return found
