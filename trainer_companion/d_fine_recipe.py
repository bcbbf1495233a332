"""The recipe of the transformer family, D-FINE: from weights that learnt COCO, from an earlier model, or from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from models.errors import BundleError
from trainer_companion import hub
from trainer_companion.bases import Base, open_base, prepared
from trainer_companion.hub import NotReached
from trainer_companion.hyperparameters import Hyperparameters, with_default
from trainer_companion.network_recipe import NetworkRecipe, Variant
from trainer_companion.progress import Warned
from trainer_companion.recipes import Session
from trainer_companion.variants import D_FINE_VARIANTS

if TYPE_CHECKING:
    from torch import nn

    from networks.base import Network
    from trainer_companion.team import Team

BACKBONE = "detector.model.backbone."


class DFineHyperparameters(Hyperparameters):
    """Those of every recipe, with the defaults that a transformer wants, and its own."""

    learning_rate: float = with_default("learning_rate", 4e-4)
    weight_decay: float = with_default("weight_decay", 1e-4)
    backbone_learning_rate: float = Field(
        default=0.5,
        ge=0,
        le=1,
        json_schema_extra={"unit": "share"},
        description="By which share of the learning rate the backbone learns, where it begins with weights that know "
        "something; from scratch it learns like the rest.",
    )
    pretrained: bool = Field(
        default=True,
        strict=True,
        json_schema_extra={"unit": ""},
        description="Without a base model, begin with weights that learnt COCO (Apache-2.0), from huggingface.co or its "
        "cache on this machine. Where neither has them, the training begins from scratch and says so.",
    )


class DFineRecipe(NetworkRecipe):
    """See `trainer_companion.recipes.Recipe`."""

    name = "d_fine"
    family = "d_fine"
    networks: Sequence[Variant] = D_FINE_VARIANTS
    by_class = (".class_embed.", ".enc_score_head.", ".denoising_class_embed.")
    becomes = ("onnx",)
    hyperparameters = DFineHyperparameters

    def learner(self, network: Network, team: Team) -> nn.Module:
        """See `NetworkRecipe.learner`."""
        from networks.d_fine import DFineNetwork
        from trainer_companion.d_fine_losses import DFineLearner

        assert isinstance(network, DFineNetwork)
        return DFineLearner(network, team)

    def foundation(self, session: Session, network: Network) -> Base | None:
        """Weights that learnt COCO, unless the job does without."""
        assert isinstance(session.hyperparameters, DFineHyperparameters)
        if not session.hyperparameters.pretrained:
            return None
        repository = f"ustc-community/dfine-{network.architecture['size']}-coco"
        session.say(
            Warned(message=f"Asking {hub.ENDPOINT} for {repository}, where it is not on this machine already …")
        )
        kept = session.folder / "pretrained"
        try:
            try:
                return _readable(hub.fetch(repository), kept)
            except BundleError:  # a power cut may have torn what the cache holds
                return _readable(hub.fetch(repository, anew=True), kept)
        except (NotReached, BundleError) as error:
            session.say(Warned(message=f"{error}; the training begins from scratch, which wants many pictures."))
            return None

    def learning_rates(self, session: Session, *, knows: bool) -> Mapping[str, float]:
        """The backbone learns more slowly where it knows something."""
        assert isinstance(session.hyperparameters, DFineHyperparameters)
        return {BACKBONE: session.hyperparameters.backbone_learning_rate if knows else 1.0}


def _readable(weights: Path, folder: Path) -> Base:
    """A base model of a file of weights. Raises `BundleError` where they cannot be read."""
    from trainer_companion.base_models import read_weights

    base = open_base(prepared(weights, folder))
    read_weights(base.weights)
    return base
