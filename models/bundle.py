"""One model folder: `model.json` and the weight files that it names. Once opened, it is complete and true.

What runs the weights is not known here; a bundle without our `inference` key is opened with `model.inference` None
where there is exactly one weight file, and `models.undescribed` recognises its head with the runtime at hand.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from models.bundle_format import INFERENCE_VERSION, ModelJson, WeightsSpec
from models.bundle_zip import DEFAULT_LIMITS, ZipLimits, bundle_files, pack, unpack, unpacked_bytes
from models.errors import BundleError
from models.wire.model_information import ModelInformation

__all__ = [
    "DEFAULT_LIMITS",
    "MODEL_JSON",
    "Bundle",
    "Identity",
    "ZipLimits",
    "bundle_files",
    "complete",
    "information",
    "open_bundle",
    "pack",
    "read_document",
    "sha256_of",
    "unpack",
    "unpacked_bytes",
]

MODEL_JSON = "model.json"

_MOST_JSON_BYTES = 8 * 1024 * 1024  # anchors of a large raw SSD take about one of them
_WEIGHT_SUFFIXES = (".tflite", ".onnx")
_CHUNK = 1024 * 1024  # bytes hashed at a time


class Identity(NamedTuple):
    """Whose model this is, made for what, and which. A part that model.json does not say is empty."""

    organization: str
    project: str
    format: str
    version: str


@dataclass(frozen=True)
class Bundle:
    """A model folder whose parts are all there. `folder` is where it lies, `model` what its model.json says."""

    folder: Path
    model: ModelJson

    @property
    def identity(self) -> Identity:
        """Organization, project, format and version, as model.json has them."""
        model = self.model
        return Identity(model.organization or "", model.project or "", model.format or "", model.version or "")

    @property
    def model_id(self) -> str:
        """The id that the Loop gave; a model made by hand has one made of its identity, the same in all its formats."""
        who = self.identity
        return self.model.id or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{who.organization}/{who.project}/{who.version}"))

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The weight files, each once: those that `inference` names, else the one that there is."""
        if self.model.inference is None:
            return tuple(path for path in bundle_files(self.folder) if path.suffix in _WEIGHT_SUFFIXES)
        return tuple(dict.fromkeys(self.weights_path(spec) for spec in self.model.inference.weights))

    def weights_path(self, spec: WeightsSpec) -> Path:
        """Where the weights of `spec` lie."""
        return self.folder / spec.file

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over model.json and the sha256 of every weight file: equal for what runs equally. Key of caches.

        Spaces and order of keys in model.json do not count. Weights without a sha256 in model.json are read: blocks.
        """
        said = {spec.file: spec.sha256 for spec in self.model.inference.weights} if self.model.inference else {}
        weights = {path.name: said.get(path.name) or sha256_of(path) for path in self.weight_files}
        model = self.model.model_dump(mode="json", exclude_unset=True)
        return hashlib.sha256(json.dumps([model, weights], sort_keys=True).encode()).hexdigest()


def open_bundle(folder: Path, *, verify_hashes: bool = True) -> Bundle:
    """Open a model folder. Blocks; `verify_hashes` reads every weight file that has a sha256 in model.json.

    Raises `BundleError`, its sentence naming the key or the file, what was expected and what was found.
    """
    document = read_document(folder)
    _check_inference_version(document)
    try:
        model = ModelJson.model_validate(document)
    except ValidationError as error:
        raise BundleError(_sentence(error)) from error
    bundle = Bundle(folder, model)
    if model.inference is None:
        _check_lone_weight_file(bundle)
        return bundle
    for spec in model.inference.weights:
        _check_weights(bundle, spec, verify_hash=verify_hashes)
    return bundle


def read_document(folder: Path) -> dict[str, Any]:
    """The JSON object in a folder's model.json, unknown keys and all. Raises `BundleError`."""
    path = folder / MODEL_JSON
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError("model.json is no regular file; it should be a file of its own, not a link or a folder")
        with path.open("rb") as file:
            data = file.read(_MOST_JSON_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleError("there is no model.json; a bundle is a folder of model.json and its weight files") from error
    except OSError as error:
        raise BundleError(f"model.json cannot be read: {error.strerror}") from error
    if len(data) > _MOST_JSON_BYTES:
        raise BundleError(
            f"model.json is longer than {_MOST_JSON_BYTES} bytes; it should describe a model, not hold it"
        )
    try:
        document = json.loads(data.decode("utf-8"))
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise BundleError("model.json is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"model.json is no UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:  # no JSON, or a NaN or half a surrogate pair, which no answer of ours could carry
        raise BundleError(f"model.json is no valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise BundleError(f"model.json should hold a JSON object, but holds {_shown(document)}")
    return document


def complete(
    document: Mapping[str, Any],
    *,
    id: str | None = None,
    host: str | None = None,
    organization: str | None = None,
    project: str | None = None,
    version: str | None = None,
    format: str | None = None,
) -> dict[str, Any]:
    """A model.json with the given upstream keys set, and all others, known and unknown, as they were. Pure."""
    given = {
        "id": id,
        "host": host,
        "organization": organization,
        "project": project,
        "version": version,
        "format": format,
    }
    return {**document, **{key: value for key, value in given.items() if value is not None}}


def information(bundle: Bundle) -> ModelInformation:
    """What the node says of its model: upstream's keys (`info`, `about`). What model.json lacks is "unknown"."""
    model, who = bundle.model, bundle.identity
    resolution = model.resolution
    if resolution is None and model.inference is not None:
        resolution = max(max(spec.input.width, spec.input.height) for spec in model.inference.weights)
    return ModelInformation(
        id=bundle.model_id,
        host=model.host or "unknown",
        organization=who.organization or "unknown",
        project=who.project or "unknown",
        version=who.version or "unknown",
        categories=model.categories,
        resolution=resolution,
        model_root_path=str(bundle.folder),
        model_size=model.model_size,
        conf_threshold=model.conf_threshold,
    )


def sha256_of(path: Path) -> str:
    """sha256 of a file, hex. Blocks."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _check_inference_version(document: Mapping[str, Any]) -> None:
    """Before anything else in the block is looked at: another version may have other keys."""
    inference = document.get("inference")
    version = inference.get("version", INFERENCE_VERSION) if isinstance(inference, dict) else INFERENCE_VERSION
    if version != INFERENCE_VERSION or isinstance(version, bool):
        raise BundleError(
            f"model.json has version {_shown(version)} of 'inference', but this program understands only version "
            f"{INFERENCE_VERSION}; it may be too old for this model"
        )


def _check_weights(bundle: Bundle, spec: WeightsSpec, *, verify_hash: bool) -> None:
    path = bundle.weights_path(spec)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError as error:
        raise BundleError(f"the weight file {spec.file!r} that model.json names is not in the bundle") from error
    except OSError as error:
        raise BundleError(f"the weight file {spec.file!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise BundleError(f"{spec.file!r} is no regular file; weights must lie in the bundle itself, without links")
    if verify_hash and spec.sha256 is not None and (found := sha256_of(path)) != spec.sha256:
        raise BundleError(
            f"{spec.file!r} is damaged or was exchanged: its sha256 begins {found[:12]}, "
            f"that of the file which model.json describes begins {spec.sha256[:12]}"
        )


def _check_lone_weight_file(bundle: Bundle) -> None:
    files = bundle.weight_files
    if not files:
        raise BundleError(
            "model.json has no key 'inference' and there is no weight file to recognise a model from; expected one "
            f"{' or '.join(_WEIGHT_SUFFIXES)} file, or 'inference' with head and weights"
        )
    if len(files) > 1:
        raise BundleError(
            f"model.json has no key 'inference', and of {len(files)} weight files "
            f"({', '.join(path.name for path in files)}) it must say which runs where; expected 'inference' with head "
            "and weights"
        )


def _sentence(error: ValidationError) -> str:
    """The first of pydantic's complaints as a sentence for people: key, what was expected, what was found."""
    complaints = error.errors(include_url=False)
    first = complaints[0]
    key = ""
    for part in first["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    if first["type"] == "missing":
        text = f"model.json lacks the key '{key}'"
    elif first["type"] == "value_error":
        text = f"model.json contradicts itself: {first['msg'].removeprefix('Value error, ')}"
    else:
        expected = re.sub(r"^\w+ should", "it should", first["msg"])
        expected = re.sub(r"a valid dictionary( or instance of \w+)?", "a JSON object", expected)
        text = f"in model.json, '{key}' is {_shown(first['input'])}, but {expected}"
    return text if len(complaints) == 1 else f"{text} (and {len(complaints) - 1} more)"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
