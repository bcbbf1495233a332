"""A runtime whose weights are JSON that says what it does and gives: named `scripted` in the table of runtimes.

    monkeypatch.setitem(runtimes.BUILT_IN, "scripted", SCRIPTED_RUNTIME)

`{"outputs": [[[0.5]]], "concurrency": "copies"}`; `"load"` and `"infer"`: what is raised there instead.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.bundle_format import WeightsSpec
from models.errors import ModelFailed, RuntimeMissing
from models.runtimes.base import Choice, Concurrency, LoadedModel, TensorSpec

SCRIPTED_RUNTIME = "tests.support.scripted_runtime:ScriptedRuntime"

RAISES = {"foreign": ZeroDivisionError("a bug"), "ours": ModelFailed("out of memory"), "missing": RuntimeMissing("no")}


class ScriptedRuntime:
    """See `models.runtimes.base.Runtime`. Every threads it is offered is a way, on whatever accelerator the weights name."""

    name = "scripted"
    loaded: ClassVar[list[ScriptedModel]] = []
    """Every model since the test began."""

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        if weights.file.startswith("puzzling"):
            raise ZeroDivisionError("a bug")
        accelerator = "cpu" if weights.accelerator == "any" else weights.accelerator
        return [Choice(self.name, accelerator, threads) for threads in cpu_threads]

    def present(self, accelerator: str) -> bool:
        return True

    def version(self) -> str:
        return "scripted 1.0"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> LoadedModel:
        script = json.loads(path.read_text())
        if "load" in script and len(self.loaded) >= script.get("after", 0):
            raise RAISES[script["load"]]
        self.loaded.append(ScriptedModel(script, path.name, choice))
        return self.loaded[-1]


class ScriptedModel:
    """See `models.runtimes.base.LoadedModel`."""

    def __init__(self, script: dict[str, Any], file: str, choice: Choice) -> None:
        self.file, self.choice = file, choice
        self.concurrency: Concurrency = script.get("concurrency", "shared")
        self.input = TensorSpec("image", (1, 100, 100, 3), "uint8")
        self.outputs = [TensorSpec(f"output {n}", (), "float32") for n, _ in enumerate(script.get("outputs", []))]
        self.closed = False
        self.at_once = 0
        self.most_at_once = 0
        self.seen: list[NDArray[np.uint8]] = []
        self._script = script
        self._lock = threading.Lock()

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.seen.append(image.copy())
        threading.Event().wait(self._script.get("seconds", 0.0))
        with self._lock:
            self.at_once -= 1
        if "infer" in self._script:
            raise RAISES[self._script["infer"]]
        return [np.array(output, np.float32) for output in self._script["outputs"]]

    def close(self) -> None:
        assert not self.closed
        self.closed = True
