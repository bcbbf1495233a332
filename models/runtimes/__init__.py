"""The libraries that run weights. One table names the built-in ones; other packages add theirs through entry points."""

from __future__ import annotations

from models import plugins
from models.runtimes.base import Runtime

GROUP = "detector_appliance.runtimes"

BUILT_IN = {
    "litert": "models.runtimes.litert:LiteRtRuntime",
    "onnx": "models.runtimes.onnx:OnnxRuntime",
}
"""Name in `model.json` -> where it lives. Imported only when a bundle asks for it."""


def runtime(name: str) -> Runtime:
    """The runtime of that name. Raises `BundleError` naming the known ones."""
    made: Runtime = plugins.find(GROUP, BUILT_IN, name)()
    return made
