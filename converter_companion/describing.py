"""`model.json` of what was converted: the source's, with other weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.bundle import MODEL_JSON, Bundle, read_document
from models.bundle_format import WeightsSpec
from models.errors import BundleError
from models.files import FILE_SYSTEM, FileSystem


def described(source: Bundle, model_format: str, weights: Sequence[WeightsSpec]) -> dict[str, Any]:
    """The document for the same model in another format: who it is, its categories and how its head is read stay.

    Reads the source's model.json. Raises `BundleError` where it has no block `inference`.
    """
    document = read_document(source.folder)
    if not isinstance(document.get("inference"), dict):
        raise BundleError("model.json has no key 'inference', which says how the weights are run")
    listed = [each.model_dump(mode="json", exclude_none=True) for each in weights]
    return {**document, "format": model_format, "inference": {**document["inference"], "weights": listed}}


def write(folder: Path, document: dict[str, Any], files: FileSystem = FILE_SYSTEM) -> None:
    """Write it into `folder`. Blocks. Raises what writing raises."""
    files.write_atomically(folder / MODEL_JSON, json.dumps(document, indent=1).encode())
