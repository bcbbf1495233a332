"""The format `appliance_pytorch`: a bundle from which a network is trained on, converted, or run by PyTorch."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.bundle import MODEL_JSON, Bundle, sha256_of
from models.bundle_format import INFERENCE_VERSION, InferenceSpec, WeightsSpec
from models.errors import BundleError
from models.files import FILE_SYSTEM, FileSystem
from models.wire.model_information import Category
from networks.base import Network, family

FORMAT = "appliance_pytorch"
WEIGHTS = "network.pt"

NMS_IOU = 0.6


def document(
    network: Network,
    family_name: str,
    categories: Sequence[Category],
    weights: Sequence[WeightsSpec],
    *,
    conf_threshold: float | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`model.json` for a network in whatever format: who it is comes later, from the Loop. `more`: further upstream keys.

    `conf_threshold`: confidence (0..1) from which a detection is shown, as the trainer chose it.
    """
    inference = InferenceSpec(
        version=INFERENCE_VERSION,
        head=network.head,
        family=family_name,
        weights=list(weights),
        nms_iou=NMS_IOU,
        head_options=network.head_options,
    )
    made: dict[str, Any] = {
        "resolution": max(network.input.width, network.input.height),
        "categories": [category.model_dump(mode="json", exclude_none=True) for category in categories],
        **(more or {}),
        "inference": {**inference.model_dump(mode="json", exclude_none=True), "architecture": network.architecture},
    }
    if conf_threshold is not None:
        made["conf_threshold"] = conf_threshold
    return made


def write(
    folder: Path,
    network: Network,
    family_name: str,
    categories: Sequence[Category],
    *,
    conf_threshold: float | None = None,
    more: Mapping[str, Any] | None = None,
    files: FileSystem = FILE_SYSTEM,
) -> Path:
    """Write a bundle into `folder`, which may exist. Blocks. Raises what writing raises."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    torch.save({name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}, path)
    weights = WeightsSpec(
        runtime="torch",
        accelerator="any",
        file=WEIGHTS,
        sha256=sha256_of(path),
        input=network.input,
        outputs={name: index for index, name in enumerate(network.output_names)},
    )
    made = document(network, family_name, categories, [weights], conf_threshold=conf_threshold, more=more)
    files.write_atomically(folder / MODEL_JSON, json.dumps(made, indent=1).encode())
    return folder


def read(bundle: Bundle) -> Network:
    """The network in a bundle, in training mode, on the CPU. Raises `BundleError` with what is wrong.

    The file of weights is taken as data: whatever is no tensor in it is refused unread.
    """
    network = build(bundle)
    state = state_of(bundle)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BundleError(
            f"the weights in {WEIGHTS} are not those of the network that model.json describes: "
            f"{str(error).splitlines()[-1].strip()[:200]}"
        ) from error
    return network


def build(bundle: Bundle) -> Network:
    """The network that `model.json` describes, with fresh weights. Raises `BundleError`."""
    inference = bundle.model.inference
    architecture = (inference.model_extra or {}).get("architecture") if inference is not None else None
    if inference is None or inference.family is None or not isinstance(architecture, dict):
        raise BundleError(
            f"this is no {FORMAT} bundle: under 'inference', model.json has to say family and architecture"
        )
    return family(inference.family).build(architecture, max(1, len(bundle.model.categories)))


def state_of(bundle: Bundle) -> dict[str, torch.Tensor]:
    """The tensors of a bundle by their names. Raises `BundleError`."""
    path = bundle.folder / WEIGHTS
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BundleError(f"there is no {WEIGHTS} in the bundle; a network cannot be trained on without it") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise BundleError(f"{WEIGHTS} cannot be read as weights: {_first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BundleError(f"{WEIGHTS} holds something else than tensors")
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
