"""Model folders for tests: a model.json that is complete, and a few bytes that stand for weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

WEIGHTS = b"weights " * 40

CATEGORIES = [
    {"id": "5f1f5a1e-0c10-4f0a-9d5c-000000000001", "name": "screw", "type": "box", "color": "#112233"},
    {"id": "5f1f5a1e-0c10-4f0a-9d5c-000000000002", "name": "hole", "type": "point", "point_size": 12, "our_own": True},
]


def model_json(version: str | None = "1.0", weights: bytes = WEIGHTS, **keys: Any) -> dict[str, Any]:
    """A whole model.json; `keys` replace or add top-level keys, None removes one."""
    document = {
        "id": "00000000-0000-0000-0000-000000000011",
        "host": "loop.example",
        "organization": "zauberzeug",
        "project": "demo",
        "format": "litert",
        "version": version,
        "resolution": 320,
        "categories": CATEGORIES,
        "model_size": "small",
        "conf_threshold": 0.4,
        "inference": {
            "version": 1,
            "head": "ssd_postprocessed",
            "weights": [
                {
                    "runtime": "litert",
                    "accelerator": "cpu",
                    "file": "model.tflite",
                    "sha256": hashlib.sha256(weights).hexdigest(),
                    "input": {"width": 320, "height": 240},
                    "outputs": {"boxes": 0, "classes": 1, "scores": 2, "count": 3},
                }
            ],
            "class_indices": [0, 5],
        },
        **keys,
    }
    return {key: value for key, value in document.items() if value is not None}


def make_bundle(folder: Path, version: str | None = "1.0", weights: bytes = WEIGHTS, **keys: Any) -> Path:
    """Write a bundle into the new folder `folder`; arguments as for `model_json`."""
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(model_json(version, weights, **keys)))
    (folder / "model.tflite").write_bytes(weights)
    return folder
