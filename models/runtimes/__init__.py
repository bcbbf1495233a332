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
    """A new instance of the runtime called `name`: built in, or offered by an installed package.

    Raises `BundleError` where there is none of that name, `ModelFailed` where the package that offers it is broken.
    """
    made: Runtime = plugins.create(GROUP, BUILT_IN, name, needs=("choices", "present", "version", "load"))
    return made
