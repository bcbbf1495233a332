"""What a recipe is: a class that knows how to make a model of pictures, and which variants of it there are.

To add one, write a class like the Protocol below and name it in the entry-point group `detector_appliance.recipes` of a
package that is installed beside this one. Its variants are then offered like those that are built in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models import plugins
from models.errors import InvalidInput
from models.wire.training import PretrainedModel
from trainer_companion import dataset
from trainer_companion.dataset import Dataset, Learns, OfOtherKind
from trainer_companion.hyperparameters import Hyperparameters
from trainer_companion.job import Job
from trainer_companion.progress import Done, Event, say

if TYPE_CHECKING:
    import torch

    from trainer_companion.stopping import Stopping
    from trainer_companion.team import Team

GROUP = "detector_appliance.recipes"
"""Entry-point group in which other packages offer recipes."""

BUILT_IN = {
    "edge": "trainer_companion.edge_recipe:EdgeRecipe",
    "edge_classifier": "trainer_companion.classifier_recipe:ClassifierRecipe",
    "d_fine": "trainer_companion.d_fine_recipe:DFineRecipe",
}
"""Name -> where the class is. The module of a recipe loads no PyTorch: the node reads its variants."""


@dataclass
class Session:
    """What a recipe is given for one training.

    `folder`: the job's, to keep checkpoints in. `dataset`: read and checked, with something to learn. `hyperparameters`:
    an instance of the recipe's class. `base`: folder of a model to begin with. `team`: the processes that train
    together. `stopping`: asked between steps whether it is time to end. `device`: that of this process.
    """

    job: Job
    folder: Path
    dataset: Dataset
    hyperparameters: Hyperparameters
    team: Team
    device: torch.device
    stopping: Stopping

    def say(self, event: Event) -> None:
        """Tell whoever started the training; of several processes only the first does.

        The end is told on every machine, for on each somebody waits for it.
        """
        if self.team.leads or (isinstance(event, Done) and self.team.local_rank == 0):
            say(event)


class Recipe(Protocol):
    """Called in the subprocess of the training, except for the attributes, which the node reads in its own process.

    `name`: what stands behind "architecture" in the Loop. `variants`: what a person can choose; names are unique over all
    recipes. `hyperparameters`: the pydantic model with all that may be turned, a subclass of `Hyperparameters`. `learns`:
    `things`, boxes and points, or `pictures`, the class of each picture as a whole; a class without it learns things.
    """

    name: str
    learns: Learns
    hyperparameters: type[Hyperparameters]

    @property
    def variants(self) -> Sequence[PretrainedModel]:
        """What a person can choose."""

    def takes(self, base: Path) -> bool:
        """Whether it can begin with the bundle in this folder, when no variant is named. Reads `model.json` only."""

    def train(self, session: Session) -> Done:
        """Train, and return when it is over; called once, in every process of the team.

        It says `Started` once, `Progress` now and then, and `Best` whenever a bundle that is better than all before lies
        complete in a folder. It asks `session.stopping` between steps. It may keep what it needs in `session.folder`
        and go on from there when it is called again in a new process. A `DetectorApplianceError` that it raises ends
        the training with its sentence (`Failed`); any other error is a bug, and is shown with its traceback.
        """


def recipe(name: str) -> Recipe:
    """A new instance of the recipe called `name`. Raises `BundleError`, or `ModelFailed` where its package is broken."""
    found: Recipe = plugins.create(
        GROUP, BUILT_IN, name, needs=("name", "variants", "hyperparameters", "takes", "train")
    )
    return found


def recipes() -> list[Recipe]:
    """One of each that is installed; the built-in ones first. Raises `ModelFailed` for a broken package."""
    others = [name for name in plugins.names(GROUP, BUILT_IN) if name not in BUILT_IN]
    return [recipe(name) for name in [*BUILT_IN, *others]]


def variants() -> list[PretrainedModel]:
    """Everything that a person can choose: what a trainer tells the Loop as `pretrained_models`."""
    return [variant for each in recipes() for variant in each.variants]


def learns(recipe: Recipe) -> Learns:
    """What it learns; things, where it does not say."""
    said: Learns = getattr(recipe, "learns", "things")
    return said


def dataset_for(recipe: Recipe, folder: Path, given: Hyperparameters) -> Dataset:
    """What the recipe can learn from a folder. Blocks. Raises `InvalidInput` with what is missing, and, where the folder
    holds what others learn, with the variants to choose from.
    """
    try:
        return dataset.read(folder, learns=learns(recipe), compute_validation_set=given.compute_validation_set)
    except OfOtherKind as error:
        names = [variant.name for each in recipes() if learns(each) == error.fits for variant in each.variants]
        raise InvalidInput(f"{error} These variants learn from this dataset: {', '.join(names)}.") from error


def recipe_of(job: Job) -> Recipe:
    """The recipe that a job asks for: that of its variant, else one that can begin with its base model.

    Raises `InvalidInput` with what could be chosen.
    """
    known = recipes()
    if job.variant is not None:
        for each in known:
            if any(variant.name == job.variant for variant in each.variants):
                return each
        names = ", ".join(variant.name for each in known for variant in each.variants)
        raise InvalidInput(f"There is no variant {job.variant!r}; known are {names}.")
    assert job.base is not None
    for each in known:
        if each.takes(job.base):
            return each
    raise InvalidInput("No recipe can begin with this base model, as it is of another network; name a variant.")
