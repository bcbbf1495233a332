"""What a recipe is: a class that knows how to make a model of pictures, and which variants of it there are.

To add one, write a class like the Protocol below and name it in the entry-point group `detector_appliance.recipes` of a
package that is installed beside this one. Its variants are then offered like those that are built in. One broken package
takes nothing from the others: it is left out, and said so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from models import plugins
from models.errors import DetectorApplianceError, InvalidInput, ModelFailed
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

log = logging.getLogger(__name__)

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

    An own recipe that raises anything while it is imported or made, or from `variants`, is left out, and all others stay
    usable. What is broken is said by the node in its log, by `trainer-companion variants` on standard error, and to whoever
    names a variant that no other recipe has. Anything that `takes` raises counts as no, and is logged.
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


class Offer(NamedTuple):
    """A recipe, the name under which it is installed, and what a person can choose of it."""

    name: str
    recipe: Recipe
    variants: tuple[PretrainedModel, ...]


class Offers(NamedTuple):
    """What is installed, the built-in recipes first. `broken`: a sentence for each that cannot be used."""

    usable: list[Offer]
    broken: list[str]

    @property
    def names(self) -> str:
        """Of all variants, for people."""
        return ", ".join(variant.name for each in self.usable for variant in each.variants)


def offers() -> Offers:
    """Each recipe that is installed. What another package broke is left out; what is built in raises as it likes."""
    found = Offers([], [])
    for name in BUILT_IN:
        built_in = recipe(name)
        found.usable.append(Offer(name, built_in, tuple(built_in.variants)))
    for name in plugins.names(GROUP, BUILT_IN):
        if name in BUILT_IN:
            continue
        try:
            other = recipe(name)
            with _blaming(name, "variants"):
                found.usable.append(Offer(name, other, _checked(other.variants)))
        except DetectorApplianceError as error:
            found.broken.append(str(error))
    return found


def recipes() -> list[Recipe]:
    """One of each that is installed and can be used; the built-in ones first."""
    return [each.recipe for each in offers().usable]


def variants() -> list[PretrainedModel]:
    """Everything that a person can choose: what a trainer tells the Loop as `pretrained_models`. Logs what is broken."""
    found = offers()
    for sentence in found.broken:
        log.warning("%s Its variants are not offered.", sentence)
    return [variant for each in found.usable for variant in each.variants]


def _checked(said: Sequence[PretrainedModel]) -> tuple[PretrainedModel, ...]:
    listed = tuple(said)
    if bad := [each for each in listed if not isinstance(each, PretrainedModel)]:
        raise TypeError(f"{type(bad[0]).__name__} is no PretrainedModel")
    return listed


@contextmanager
def _blaming(name: str, part: str) -> Iterator[None]:
    """Name the recipe in whatever its code raises."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelFailed(
            f"The recipe '{name}' cannot be used, as its {part} failed: {type(error).__name__}: {error}. "
            f"Repair, update or remove the package that offers it in {GROUP}."
        ) from error


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
        fitting = Offers([each for each in offers().usable if learns(each.recipe) == error.fits], [])
        raise InvalidInput(f"{error} These variants learn from this dataset: {fitting.names}.") from error


def recipe_of(job: Job) -> Recipe:
    """The recipe that a job asks for: that of its variant, else one that can begin with its base model.

    Raises `InvalidInput` with what could be chosen.
    """
    known = offers()
    if job.variant is not None:
        for each in known.usable:
            if any(variant.name == job.variant for variant in each.variants):
                return each.recipe
        refused = f"There is no variant {job.variant!r}; known are {known.names}."
        raise InvalidInput(" ".join([refused, *known.broken]))
    assert job.base is not None
    for each in known.usable:
        if _takes(each, job.base):
            return each.recipe
    refused = "No recipe can begin with this base model, as it is of another network; name a variant."
    raise InvalidInput(" ".join([refused, *known.broken]))


def _takes(offer: Offer, base: Path) -> bool:
    if offer.name in BUILT_IN:
        return offer.recipe.takes(base)
    try:
        with _blaming(offer.name, "takes"):
            return bool(offer.recipe.takes(base))
    except ModelFailed as error:
        log.warning("%s", error)
        return False
