"""The recipe of the edge family: small one-stage detectors, from scratch or from an earlier model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer_companion.network_recipe import NetworkRecipe, Variant
from trainer_companion.variants import EDGE_VARIANTS

if TYPE_CHECKING:
    from torch import nn

    from networks.base import Network
    from trainer_companion.team import Team


class EdgeRecipe(NetworkRecipe):
    """See `trainer_companion.recipes.Recipe`.

    An own recipe may begin with this class: other `networks`, further `hyperparameters`, or a `train` that changes the
    session's dataset before it hands it on.
    """

    name = "edge"
    family = "edge"
    networks: Sequence[Variant] = EDGE_VARIANTS
    by_class = (".logits.",)

    def learner(self, network: Network, team: Team) -> nn.Module:
        """See `NetworkRecipe.learner`."""
        from networks.edge import EdgeNetwork
        from trainer_companion.losses import EdgeLearner

        assert isinstance(network, EdgeNetwork)
        return EdgeLearner(network, team)
