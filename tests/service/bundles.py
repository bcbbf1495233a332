"""Models for boxes to be given: the seed model under other names, and with what may be wrong with a model."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from models.zoo import seed_folder

ORGANIZATION, PROJECT = "acme", "kitchens"


def seed_document() -> dict[str, Any]:
    """The seed model's model.json."""
    document: dict[str, Any] = json.loads((seed_folder() / "model.json").read_bytes())
    return document


def onnx_weights() -> tuple[dict[str, Any], bytes]:
    """The seed model's ONNX weights: their entry in model.json, and the file."""
    [spec] = [spec for spec in seed_document()["inference"]["weights"] if spec["runtime"] == "onnx"]
    return spec, (seed_folder() / spec["file"]).read_bytes()


def document_of(version: str | None, **keys: Any) -> dict[str, Any]:
    """model.json of a model that detects what the seed model does, but is somebody's own."""
    changed = {
        "id": f"00000000-0000-0000-0000-0000{hashlib.sha256(str(version).encode()).hexdigest()[:8]}",
        "organization": ORGANIZATION,
        "project": PROJECT,
        "version": version,
        **keys,
    }
    return {key: value for key, value in {**seed_document(), **changed}.items() if value is not None}


def zip_of(files: Mapping[str, bytes | str], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def model_zip(version: str | None, weights: bytes | None = None, **keys: Any) -> bytes:
    """A model with the seed model's ONNX weights as `version`, or with other `weights`; `keys` replace keys of model.json,
    None removes one.
    """
    spec, own = onnx_weights()
    weights = own if weights is None else weights
    document = document_of(version, **keys)
    spec["sha256"] = hashlib.sha256(weights).hexdigest()
    document.setdefault("inference", {})["weights"] = [spec]
    return zip_of({"model.json": json.dumps(document), spec["file"]: weights})
