"""Bundles for the runtime `scripted`: what a model would return is written into its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.bundle import Bundle, open_bundle

SIZE = 100
"""Pixels: the model's input is square."""

Box = tuple[float, float, float, float]


def categories(*names: str, points: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Categories as a Loop writes them; ids tell the names."""
    return [{"id": f"id of {name}", "name": name, "type": "point" if name in points else "box"} for name in names]


def ssd(*found: tuple[Box, int, float]) -> list[Any]:
    """Outputs of a post-processed SSD: x1, y1, x2, y2 in pixels of the input, class, score. One row is filling."""
    rows = [*found, ((0.0, 0.0, 0.0, 0.0), 0, 0.0)]
    boxes = [[y1 / SIZE, x1 / SIZE, y2 / SIZE, x2 / SIZE] for (x1, y1, x2, y2), _, _ in rows]
    classes, scores = [number for _, number, _ in rows], [score for _, _, score in rows]
    return [[boxes], [classes], [scores], [len(found)]]


def scripted_bundle(
    folder: Path,
    scripts: Mapping[str, Mapping[str, Any]],
    *,
    head: str = "ssd_postprocessed",
    named: Sequence[Mapping[str, Any]] | None = None,
    accelerators: Mapping[str, str] | None = None,
    **inference: Any,
) -> Bundle:
    """A bundle whose weight files (name -> what the runtime does) are in `scripts`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, script in scripts.items():
        (folder / file).write_text(json.dumps(script))
    outputs = {"boxes": 0, "classes": 1, "scores": 2, "count": 3} if head == "ssd_postprocessed" else {}
    document = {
        "version": "3.2",
        "categories": list(named if named is not None else categories("screw", "nut")),
        "inference": {
            "version": 1,
            "head": head,
            "weights": [
                {
                    "runtime": "scripted",
                    "accelerator": (accelerators or {}).get(file, "cpu"),
                    "file": file,
                    "input": {"width": SIZE, "height": SIZE},
                    "outputs": outputs,
                }
                for file in scripts
            ],
            **inference,
        },
    }
    (folder / "model.json").write_text(json.dumps(document))
    return open_bundle(folder)
