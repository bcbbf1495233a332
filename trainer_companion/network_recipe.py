"""The recipe of a family of networks: from pictures to the best model, whatever the layers and the loss are."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.bundle import open_bundle, read_document
from models.errors import BundleError, InvalidInput
from models.files import FILE_SYSTEM, refusal
from models.wire.training import PretrainedModel
from trainer_companion import job as jobs
from trainer_companion import samples
from trainer_companion.bases import Base, open_base
from trainer_companion.dataset import Learns
from trainer_companion.hyperparameters import Hyperparameters
from trainer_companion.progress import Best, Confusion, Done, Judged, Reading, Started, Warned
from trainer_companion.recipes import Session

if TYPE_CHECKING:
    from torch import nn

    from networks.base import Network
    from trainer_companion.dataset import Dataset, Picture
    from trainer_companion.evaluation import Evaluation
    from trainer_companion.fitting import Learning
    from trainer_companion.pixels import PictureStore
    from trainer_companion.team import Team

SHORTEST_SIDE = 64
"""Pixels of the input; what every family takes."""

KEPT = 2
"""Best models that stay on disk: the newest, and one that somebody may be reading."""


class Variant(NamedTuple):
    """`architecture`: what the family builds the network from; the size of the input comes from `resolution` (pixels)."""

    name: str
    label: str
    description: str
    architecture: dict[str, Any]
    resolution: int

    @property
    def offered(self) -> PretrainedModel:
        """How the Loop sees it."""
        return PretrainedModel(name=self.name, label=self.label, description=self.description)


class NetworkRecipe:
    """See `trainer_companion.recipes.Recipe`; what all recipes share that train a network of `networks`.

    A subclass says its `name`, the `family` of its `networks`, and the loss (`learner`). `by_class`: parts of the names of
    tensors that have a row a category, which a base model hands on category by category. `becomes`: what the converter makes
    of such networks.
    """

    name: str
    learns: Learns = "things"
    family: str
    networks: Sequence[Variant]
    by_class: Sequence[str] = ()
    becomes: Sequence[str] = ("litert", "onnx")
    hyperparameters: type[Hyperparameters] = Hyperparameters

    def learner(self, network: Network, team: Team) -> nn.Module:
        """Network and loss as one module: `forward(pictures, boxes, classes)` gives a scalar (`fitting.Learning`)."""
        raise NotImplementedError

    def foundation(self, session: Session, network: Network) -> Base | None:  # noqa: ARG002 # for recipes that have one
        """What to begin with where the job names no base model; called in the process that leads. None: from scratch."""
        return None

    def learning_rates(self, session: Session, *, knows: bool) -> Mapping[str, float]:  # noqa: ARG002 # see above
        """See `fitting.Learning`. `knows`: the network has weights that have learnt something."""
        return {}

    @property
    def variants(self) -> Sequence[PretrainedModel]:
        """See `trainer_companion.recipes.Recipe`."""
        return tuple(network.offered for network in self.networks)

    def takes(self, base: Path) -> bool:
        """See `trainer_companion.recipes.Recipe.takes`."""
        with contextlib.suppress(BundleError, OSError):
            inference = read_document(base).get("inference")
            return isinstance(inference, dict) and inference.get("family") == self.family
        return False

    def train(self, session: Session) -> Done:
        """See `trainer_companion.recipes.Recipe.train`. The whole training, from top to bottom."""
        from trainer_companion.fitting import fit

        learning = self.prepare(session)
        self._say_started(session, learning)

        def keep_best(best: Network, evaluation: Evaluation, epoch: int) -> Best:
            return self._write_best(session, best, evaluation, epoch)

        fitted = fit(session, learning, keep_best)
        judged = on_test_pictures(session, fitted.best)
        return Done(
            **dict(judged),
            reason=fitted.reason,
            epochs=fitted.epochs,
            best_epoch=fitted.best.epoch,
            seconds=session.stopping.elapsed,
            bundle=fitted.best.bundle,
        )

    def prepare(self, session: Session) -> Learning:
        """Network, pictures in memory, and how many of them a step takes.

        Raises `InvalidInput` where no picture can be decoded, or none fits into memory; `BundleError` for the base model.
        """
        from trainer_companion.fitting import Learning
        from trainer_companion.memory import OutOfMemory, find_batch_size, most_pictures
        from trainer_companion.pixels import open_store
        from trainer_companion.team import Team

        dataset, team, hyper = session.dataset, session.team, session.hyperparameters
        network, knows = self._network(session)
        width, height = network.input.width, network.input.height
        training, held_out = dataset.of("train"), dataset.held_out

        def store(name: str, pictures: Sequence[Picture], before: int) -> PictureStore:
            def tell(done: int) -> None:
                session.say(Reading(pictures=before + done, of=len(training) + len(held_out)))

            return open_store(pictures, width, height, session.folder / f"{name}.pixels", team, tell=tell)

        train_store = store("train", training, 0)
        held_out_store = store("held_out", held_out, len(training))
        if bad := len(train_store.bad) + len(held_out_store.bad):
            session.say(Warned(message=f"Left out, because they cannot be decoded: {bad} of the pictures."))
        if len(train_store.bad) == len(training):
            raise InvalidInput(f"None of the {len(training)} pictures for training can be decoded.")
        try:
            most = most_pictures(hyper.max_batch_size, session.folder, session.device)
            alone = self.learner(network, Team()).to(session.device)
            batch_size = team.least(find_batch_size(alone, network, session.device, most, session.job.vram_limit_gb))
        except OutOfMemory as error:
            raise InvalidInput(f"{error}; choose a smaller variant or resolution, or raise VRAM_LIMIT_GB.") from error
        return Learning(
            learner=self.learner(network, team),
            network=network,
            hyperparameters=hyper,
            train=training,
            held_out=held_out,
            train_store=train_store,
            held_out_store=held_out_store,
            batch_size=batch_size,
            identity=identity(session, network),
            learning_rates=self.learning_rates(session, knows=knows),
        )

    def _say_started(self, session: Session, learning: Learning) -> None:
        """Tell what is trained, on what, with what."""
        dataset, network = session.dataset, learning.network
        in_force = {
            **session.hyperparameters.model_dump(),
            "batch_size": learning.batch_size,
            "resolution": max(network.input.width, network.input.height),
        }
        session.say(
            Started(
                variant=session.job.variant,
                architecture=self.family,
                device=_device_name(session),
                processes=session.team.size,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                train_images=len(learning.train) - len(learning.train_store.bad),
                val_images=len(dataset.of("val")),
                test_images=len(dataset.of("test")),
                batch_size=learning.batch_size,
                hyperparameters=in_force,
            )
        )

    def _network(self, session: Session) -> tuple[Network, bool]:
        """The network that a job asks for, and whether it knows something already: from its base model, or another.

        Raises `BundleError` for a base model that cannot be used.
        """
        import torch

        from networks.base import family
        from trainer_companion import checkpoints
        from trainer_companion.base_models import adopt

        job, dataset = session.job, session.dataset
        base = None if job.base is None else open_base(job.base)
        if job.variant is not None:
            variant = next(each for each in self.networks if each.name == job.variant)
            architecture, resolution = dict(variant.architecture), variant.resolution
        else:
            assert base is not None
            architecture, resolution = base.architecture, base.model.resolution or 0
        if session.hyperparameters.resolution is not None or "input_width" not in architecture:
            asked = session.hyperparameters.resolution or resolution
            architecture["input_width"], architecture["input_height"] = input_size(
                dataset, asked, keep_aspect=session.hyperparameters.keep_aspect
            )
        torch.manual_seed(job.seed)
        network = family(self.family).build(architecture, len(dataset.categories))
        fits = 0
        if session.team.leads:  # the others are told the weights before the first step
            if base is None and checkpoints.load(session.folder / jobs.CHECKPOINT, identity(session, network)) is None:
                base = self.foundation(session, network)
            if base is not None:
                adopted = adopt(network, base, dataset.categories, by_class=self.by_class)
                session.say(Warned(message=adopted.sentence))
                fits = adopted.tensors
        return network, session.team.share(fits > 0)

    def _write_best(self, session: Session, network: Network, evaluation: Evaluation, epoch: int) -> Best:
        """Write the network as a complete bundle with a new name, and say what it is. Older ones but one go.

        Raises `StorageRefused`, `NoRoom`.
        """
        from networks import bundles

        folder = session.folder / jobs.BEST
        spec = network.input
        samples.write(session.folder, session.dataset, evaluation, epoch, spec.width, spec.height)
        try:
            FILE_SYSTEM.make_folders(folder)
            # After all that lie there, those of a training from which this one does not go on, too.
            target = folder / f"{1 + max((int(each.name) for each in _kept(folder)), default=0):06}"
            staged = folder / f".{target.name}.new"
            FILE_SYSTEM.remove_tree(staged)
            bundles.write(
                staged,
                network,
                self.family,
                session.dataset.categories,
                conf_threshold=evaluation.conf_threshold,
                more={"format": bundles.FORMAT, "training": _about(session, evaluation, epoch)},
            )
            FILE_SYSTEM.rename_durably(staged, target)
            for old in _kept(folder)[:-KEPT]:
                FILE_SYSTEM.remove_tree(old)
        except OSError as error:
            raise refusal(error, "keep the best model") from error
        confusion: dict[str, Confusion] = dict(zip(session.dataset.keys, evaluation.confusion, strict=True))
        return Best(
            **dict(evaluation.judged),
            epoch=epoch,
            conf_threshold=evaluation.conf_threshold,
            confusion_matrix=confusion,
            bundle=str(target),
        )


def _kept(folder: Path) -> list[Path]:
    """The best models on the disk, the newest last."""
    return sorted(each for each in folder.iterdir() if each.name.isdigit())


def on_test_pictures(session: Session, best: Best) -> Judged:
    """How good the best model is on the test pictures; on those it was chosen by, where there are no others."""
    from networks.bundles import read
    from trainer_companion.evaluation import evaluate
    from trainer_companion.pixels import open_store

    test = session.dataset.of("test")
    if not test or not session.dataset.of("val"):
        return Judged(map50=best.map50, map=best.map, accuracy=best.accuracy)
    network = read(open_bundle(Path(best.bundle), verify_hashes=False)).to(session.device)

    def tell(done: int) -> None:
        session.say(Reading(pictures=done, of=len(test)))

    spec = network.input
    store = open_store(test, spec.width, spec.height, session.folder / "test.pixels", session.team, tell=tell)
    return evaluate(network, store, test, session.team, session.device).judged


def input_size(dataset: Dataset, resolution: int, *, keep_aspect: bool) -> tuple[int, int]:
    """Width and height of the input in pixels, multiples of 32; the larger is `resolution`.

    `keep_aspect`: in the proportions that the pictures have as a rule, else a square.
    """
    if not keep_aspect:
        return resolution, resolution
    aspect = float(np.median([picture.width / picture.height for picture in dataset.pictures]))
    shorter = max(SHORTEST_SIDE, round(resolution * min(aspect, 1 / aspect) / 32) * 32)
    return (resolution, shorter) if aspect >= 1 else (shorter, resolution)


def identity(session: Session, network: Network) -> str:
    """What has to be the same for a checkpoint to be of this training: pictures, network, numbers that matter."""
    lasting = {"epochs", "minutes", "patience", "max_batch_size"}
    said = [
        network.architecture,
        session.dataset.keys,
        session.hyperparameters.model_dump(exclude=lasting),
        session.job.seed,
        str(session.job.base),
        [(picture.name, picture.split, picture.classes.tolist()) for picture in session.dataset.pictures],
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _about(session: Session, evaluation: Evaluation, epoch: int) -> dict[str, Any]:
    """What model.json says of its training."""
    good = {"map50": evaluation.map50, "map": evaluation.map}
    if evaluation.accuracy is not None:
        good = {"accuracy": evaluation.accuracy}
    return {
        "variant": session.job.variant,
        "seed": session.job.seed,
        "epochs": epoch,
        **{name: round(value, 4) for name, value in (good | {"f1": evaluation.f1}).items()},
    }


def _device_name(session: Session) -> str:
    import torch

    if session.device.type == "cuda":
        return torch.cuda.get_device_name(session.device)
    return "cpu"
