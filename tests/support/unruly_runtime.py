"""A runtime of another package that does what it must not, on demand: installed for worker processes by `install`.

Its "weights" are JSON. `{"load": {"unruly/cpu/2": "abort"}}`: what happens when it is loaded in a way; key `*` for all.
`{"infer": "nan"}`: what happens with every picture. Else pictures of one colour make it misbehave (see `COLOURS`), and on
all others it finds one box.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, open_bundle
from models.bundle_format import WeightsSpec
from models.errors import ModelFailed
from models.images import encode_jpeg
from models.runtimes.base import Choice, Concurrency, TensorSpec

SIZE = 64
"""Pixels: the model's input is square."""

NAME = "unruly_runtime"

Outputs = list[NDArray[np.float32]]


class UnrulyRuntime:
    """See `models.runtimes.base.Runtime`. Asked for `edgetpu` it looks for a file, which the test plugs in."""

    name = "unruly"

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        if weights.accelerator == "edgetpu":
            return [Choice(self.name, "edgetpu", 1)]
        return [Choice(self.name, "cpu", threads) for threads in (1, 2, 3)]

    def present(self, accelerator: str) -> bool:
        return accelerator == "cpu" or plug().exists()

    def version(self) -> str:
        return "unruly 1.0"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> UnrulyModel:
        print("loading", choice, "into the server's standard output")
        script = json.loads(path.read_text())
        what = script.get("load", {})
        misbehave(what.get(str(choice), what.get("*", "")))
        if choice.accelerator == "edgetpu" and not plug().exists():
            raise ModelFailed("no Edge TPU is plugged in")
        return UnrulyModel(script, choice)


class UnrulyModel:
    """See `models.runtimes.base.LoadedModel`."""

    concurrency: Concurrency = "copies"

    def __init__(self, script: dict[str, Any], choice: Choice) -> None:
        self.input = TensorSpec("image", (1, SIZE, SIZE, 3), "uint8")
        self.outputs = [TensorSpec("predictions", (1, 4, 6), "float32")]
        self._script = script
        self._choice = choice

    def infer(self, image: NDArray[np.uint8]) -> Outputs:
        if self._choice.accelerator == "edgetpu" and not plug().exists():
            raise ModelFailed("the Edge TPU was pulled out")
        time.sleep(self._script.get("seconds", 0.0))
        red, green, blue = (bool(mean > 200) for mean in image.reshape(-1, 3).mean(axis=0))
        return misbehave(self._script.get("infer") or COLOURS.get((red, green, blue), "")) or [_one_box()]

    def close(self) -> None:
        """There is nothing to free."""


COLOURS = {
    (True, False, False): "abort",
    (False, True, False): "hang",
    (False, False, True): "nan",
    (True, True, False): "shape",
    (True, False, True): "raise",
    (False, True, True): "exit",
}
"""Whether red, green and blue are bright -> what happens."""


def misbehave(how: str) -> Outputs | None:
    """Do it, or return what a model must not return."""
    acts: dict[str, Callable[[], Outputs | None]] = {
        "": lambda: None,
        "abort": os.abort,
        "hang": lambda: time.sleep(3600),
        "nan": lambda: [np.full((1, 4, 6), np.nan, np.float32)],
        "shape": lambda: [np.zeros((3, 3), np.float32)],
        "raise": _raise,
        "exit": lambda: os._exit(7),
    }
    return acts[how]()


def _raise() -> None:
    print("this will end badly", file=sys.stderr)
    raise ZeroDivisionError("own logic has bugs, too")


def _one_box() -> NDArray[np.float32]:
    """In the middle, half as wide and high as the picture: rows of cx, cy, w, h, and two scores."""
    rows = np.zeros((1, 84, 6), np.float32)
    rows[0, :, :4] = SIZE
    rows[0, 0] = [SIZE / 2, SIZE / 2, SIZE / 2, SIZE / 2, 0.9, 0.0]
    return rows


def plug() -> Path:
    """The file that stands for the accelerator."""
    return Path(os.environ.get("UNRULY_PLUG", "/nowhere"))


def install(site: Path) -> None:
    """As pip would: the module, and what says that it offers a runtime. `site` belongs on the path of the processes."""
    info = site / f"{NAME}-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(__file__, site / f"{NAME}.py")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[detector_appliance.runtimes]\nunruly = {NAME}:UnrulyRuntime\n")


def unruly_bundle(folder: Path, *, accelerators: Sequence[str] = ("cpu",), **script: Any) -> Bundle:
    """A model for this runtime, one weight file for each accelerator; `script` as above."""
    folder.mkdir()
    weights = []
    for accelerator in accelerators:
        (folder / f"{accelerator}.json").write_text(json.dumps(script))
        weights.append(
            {
                "runtime": "unruly",
                "accelerator": accelerator,
                "file": f"{accelerator}.json",
                "input": {"width": SIZE, "height": SIZE},
            }
        )
    document = {
        "version": folder.name,
        "categories": [{"id": "1", "name": "thing", "type": "box"}, {"id": "2", "name": "other", "type": "box"}],
        "inference": {"version": 1, "head": "yolo", "head_options": {"layout": "v8"}, "weights": weights},
    }
    (folder / "model.json").write_text(json.dumps(document))
    return open_bundle(folder)


def picture(how: str = "") -> bytes:
    """A JPEG that makes the runtime behave like that."""
    bright = next((colour for colour, act in COLOURS.items() if act == how), (False, False, False))
    pixels = np.empty((SIZE, SIZE, 3), np.uint8)
    pixels[:] = [250 if channel else 20 for channel in bright]
    return encode_jpeg(pixels)
