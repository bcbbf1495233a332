"""The recipe that classifies whole pictures: small networks, from scratch or from an earlier model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from trainer_companion.dataset import Learns
from trainer_companion.hyperparameters import Hyperparameters
from trainer_companion.network_recipe import NetworkRecipe, Variant
from trainer_companion.variants import CLASSIFIER_VARIANTS

if TYPE_CHECKING:
    from torch import nn

    from networks.base import Network
    from trainer_companion.team import Team


class ClassifierHyperparameters(Hyperparameters):
    """Those of every recipe; pictures are not put together, for then they have no class any more."""

    mosaic: float = Field(
        default=0.0,
        ge=0,
        le=0,
        json_schema_extra={"unit": "share"},
        description="Not for classes of whole pictures: of four pictures put together nobody could say which it is.",
    )


class ClassifierRecipe(NetworkRecipe):
    """See `trainer_companion.recipes.Recipe`."""

    name = "edge_classifier"
    learns: Learns = "pictures"
    family = "edge_classifier"
    networks: Sequence[Variant] = CLASSIFIER_VARIANTS
    by_class = ("logits.",)
    hyperparameters: type[Hyperparameters] = ClassifierHyperparameters

    def learner(self, network: Network, team: Team) -> nn.Module:
        """See `NetworkRecipe.learner`."""
        from networks.classifier import ClassifierNetwork
        from trainer_companion.classifier_losses import ClassifierLearner

        del team  # every process has as many pictures as the others, so the mean of their gradients is that of all
        assert isinstance(network, ClassifierNetwork)
        return ClassifierLearner(network)
