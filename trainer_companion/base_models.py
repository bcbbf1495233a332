"""Beginning with the weights of an earlier model, as far as they fit the new network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.bundle import Bundle
from models.wire.model_information import Category
from networks import bundles
from networks.base import Network

RELATED = 0.5
"""Share of the convolutions that must fit. Of fewer, the base model is of another network, and they fit by chance."""


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


def adopt(network: Network, base: Bundle, categories: Sequence[Category], by_class: Sequence[str]) -> Adopted:
    """Copy what fits from `base` into `network`, in place. Raises `BundleError` where it holds no weights.

    A tensor fits when name and shape are the same. Tensors whose name contains one of `by_class` have a row a category:
    rows go from category to category, by id or else by name, and those of new categories stay fresh.
    """
    theirs = bundles.state_of(base)
    mine: Mapping[str, Tensor] = {name: tensor for name, tensor in network.state_dict().items() if tensor.ndim}
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
                    or other.shape[1:] != tensor.shape[1:]
                    or any(row >= len(other) for row in rows.values())
                ):
                    continue
                for to, row in rows.items():
                    tensor[to] = other[row]
                fits += len(rows) == len(tensor)
            elif name in same:
                tensor.copy_(theirs[name])
                fits += 1
    return Adopted(fits, len(mine), len(rows), len(categories))


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
