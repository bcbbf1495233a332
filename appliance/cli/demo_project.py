"""The project that `appliance demo` shows: `demo/everyday-objects`, with the model that comes along as its 1.0."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from models.bundle import MODEL_JSON, bundle_files, pack
from models.errors import LoopRefused
from models.zoo import seed_folder

ORGANIZATION, PROJECT = "demo", "everyday-objects"
MODEL_VERSION = "1.0"
FORMAT = "litert"

_P = f"/api/{ORGANIZATION}/projects/{PROJECT}"
_THE_LOOPS = ("id", "host", "organization", "project", "version", "format")
"""Keys of model.json that the Loop writes."""


def prepare(loop: httpx.Client, scratch: Path) -> bool:
    """See to it that the Loop has the project and deploys a model of it; False if that was so already.

    What is there is left as it is: somebody may have gone on from the demo. `scratch` is a folder on a disk with room
    for the model. Raises `LoopRefused`, with the Loop's words.
    """
    found = loop.get(_P)
    if found.status_code == httpx.codes.NOT_FOUND:
        names = [{"name": category["name"], "type": category["type"]} for category in _seed()["categories"]]
        _accepted(loop.post(f"/api/{ORGANIZATION}/projects", json={"project_name": PROJECT, "categories": names}))
    if loop.get(f"{_P}/deployment/target").is_success:
        return False
    models = _accepted(loop.get(f"{_P}/models"))["models"]
    if not models:
        categories = _accepted(loop.get(_P))["categories"]
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=scratch, prefix=".model-") as folder:
            zipped = seed_model_for({each["name"]: each["id"] for each in categories}, Path(folder))
            with zipped.open("rb") as file:
                _accepted(loop.post(f"{_P}/{FORMAT}", files={"files": (zipped.name, file, "application/zip")}))
        models = _accepted(loop.get(f"{_P}/models"))["models"]
    _accepted(loop.put(f"{_P}/deployment/target", json={"model_uuid": models[0]["id"]}))
    return True


def seed_model_for(ids: Mapping[str, str], folder: Path) -> Path:
    """A zip of the seed model, made in `folder`, whose categories have the `ids` that a project gave them, by name."""
    document = {key: value for key, value in _seed().items() if key not in _THE_LOOPS}
    document["categories"] = [{**each, "id": ids[each["name"]]} for each in document["categories"]]
    bundle = folder / "bundle"
    bundle.mkdir()
    for path in bundle_files(seed_folder()):
        if path.name != MODEL_JSON:
            shutil.copyfile(path, bundle / path.name)
    (bundle / MODEL_JSON).write_text(json.dumps(document, indent=1))
    zipped = folder / f"{PROJECT}.zip"
    pack(bundle, zipped)
    return zipped


def _seed() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((seed_folder() / MODEL_JSON).read_bytes())
    return document


def _accepted(answer: httpx.Response) -> dict[str, Any]:
    """What the Loop said. Raises `LoopRefused` for anything but success."""
    if not answer.is_success:
        raise LoopRefused(
            f"The Loop refused {answer.request.method} {answer.request.url.path}: {answer.text[:300]}",
            answer.status_code,
        )
    said: dict[str, Any] = answer.json()
    return said
