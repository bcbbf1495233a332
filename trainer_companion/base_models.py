"""Beginning with the weights of an earlier model, or of somebody else's, as far as they fit the new network."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import BundleError
from models.wire.model_information import Category
from networks.base import Network
from trainer_companion.bases import Base

RELATED = 0.5
"""Share of the convolutions that must fit. Of fewer, the base model is of another network, and they fit by chance."""

WRAPPERS = ("ema", "module", "model", "state_dict", "model_state_dict")
"""Under these keys checkpoints of other programs keep their weights, the averaged ones first."""

WIDESPREAD = 0.5
"""Share of all tensors whose names begin alike, for that beginning to be one that may differ between programs."""


@dataclass(frozen=True)
class Adopted:
    """How much of a base model is in a network now. `classes`: categories that both know."""

    tensors: int
    of: int
    classes: int
    of_classes: int

    @property
    def sentence(self) -> str:
        """For the person who chose the base model."""
        known = f"{self.classes} of {self.of_classes} categories are known to it"
        if self.tensors == 0:
            return (
                "The base model is of another network: none of its weights fit, and the training begins from scratch."
            )
        if self.tensors == self.of:
            return f"All {self.of} tensors of the base model fit; {known}."
        return f"{self.tensors} of {self.of} tensors of the base model fit, the others begin from scratch; {known}."


def adopt(network: Network, base: Base, categories: Sequence[Category], by_class: Sequence[str]) -> Adopted:
    """Copy what fits from `base` into `network`, in place. Raises `BundleError` where its weights cannot be read.

    A tensor fits when name and shape are the same; what all names of one of the two begin with is passed over. Tensors
    whose name contains one of `by_class` have a row a category: rows go from category to category, by id or else by name,
    and those of new categories stay fresh.
    """
    mine: Mapping[str, Tensor] = {name: tensor for name, tensor in network.state_dict().items() if tensor.ndim}
    theirs = renamed(read_weights(base.weights), mine)
    rows = _rows(base.model.categories, categories)
    same = {name for name, tensor in mine.items() if name in theirs and theirs[name].shape == tensor.shape}
    kernels = {name for name, tensor in mine.items() if tensor.ndim > 1}
    if len(kernels & same) < RELATED * len(kernels):
        return Adopted(0, len(mine), len(rows), len(categories))
    fits = 0
    with torch.no_grad():
        for name, tensor in mine.items():
            if any(part in name for part in by_class):
                other = theirs.get(name)
                if (
                    other is None
                    or other.ndim == 0
                    or other.shape[1:] != tensor.shape[1:]
                    or any(row >= len(other) for row in rows.values())
                ):
                    continue
                for to, row in rows.items():
                    tensor[to] = other[row]
                fits += len(rows) == len(categories)
            elif name in same:
                tensor.copy_(theirs[name])
                fits += 1
    return Adopted(fits, len(mine), len(rows), len(categories))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights by their names. Raises `BundleError`.

    The file is taken as data: whatever is no tensor in it is refused unread, and code in it is never run.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(
            f"{path.name} holds more than weights, and what else is in it is not run here; save its state_dict alone, or "
            "as safetensors"
        ) from error
    except Exception as error:  # both libraries raise what they like for a damaged file, classes of their own too
        first = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise BundleError(f"{path.name} cannot be read as weights: {first}") from error
    return _unwrapped(found, path)


def _unwrapped(found: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(len(WRAPPERS)):
        if not isinstance(found, dict):
            break
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    tensors = {str(name): each for name, each in found.items() if _is_plain(each)} if isinstance(found, dict) else {}
    if not tensors:
        raise BundleError(f"{path.name} holds no tensors by name; a state_dict is expected")
    return tensors


def renamed(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same tensors under the names that the network has for most of them, where only the beginnings differ. Pure."""

    def shared(ours: str, other: str) -> int:
        return sum(
            1
            for name, tensor in mine.items()
            if name.startswith(ours)
            and (found := theirs.get(other + name[len(ours) :])) is not None
            and found.shape == tensor.shape
        )

    pairs = [(ours, other) for ours in _beginnings(mine) for other in _beginnings(theirs)]
    ours, other = max(pairs, key=lambda pair: shared(*pair))
    return {ours + name[len(other) :]: tensor for name, tensor in theirs.items() if name.startswith(other)}


def _beginnings(names: Iterable[str]) -> list[str]:
    """What at least half of the names begin with, in whole parts; nothing at all first."""
    counts: dict[str, int] = {}
    total = 0
    for name in names:
        total += 1
        parts = name.split(".")
        for depth in range(1, min(4, len(parts))):
            beginning = ".".join(parts[:depth]) + "."
            counts[beginning] = counts.get(beginning, 0) + 1
    return ["", *(beginning for beginning, count in counts.items() if count >= WIDESPREAD * total)]


def _rows(old: Sequence[Category], new: Sequence[Category]) -> dict[int, int]:
    """Index of a category in the new model -> in the old one, for those that both know."""
    by_id = {category.id: index for index, category in enumerate(old)}
    by_name = {category.name: index for index, category in enumerate(old)}
    rows = {}
    for index, category in enumerate(new):
        found = by_id.get(category.id, by_name.get(category.name))
        if found is not None:
            rows[index] = found
    return rows


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of the usual kind: others, sparse ones for example, cannot be copied from."""
    return isinstance(value, Tensor) and value.layout == torch.strided
