"""The command `trainer-companion`.

Exit status: 0 it worked, 1 it did not, 2 it was called wrongly, 130 it was interrupted before there was a model.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from models.bundle_zip import pack
from models.errors import DetectorApplianceError
from trainer_companion import job
from trainer_companion.bases import prepared
from trainer_companion.dataset import Dataset
from trainer_companion.hyperparameters import parse, table
from trainer_companion.launching import Training
from trainer_companion.progress import Best, Event, Failed, Progress, Started, Warned
from trainer_companion.recipes import BUILT_IN, dataset_for, offers, recipe, recipe_of
from trainer_companion.serve import serve
from trainer_companion.stopping import told_to_end
from trainer_companion.variants import DEFAULT

MOST_PROCESSES = 4
"""On a machine without graphics card, where nobody says how many."""

SECONDS_BETWEEN_LINES = 5.0
FOLDER = "training"


class _Amount(click.FloatRange):
    """A number within a range, which `nan` is not, though it is neither below nor above any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no amount.", param, ctx)
        return found


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Make a model of pictures and boxes, or of pictures and their classes.

    \b
    trainer-companion train --coco DIR --out DIR      from a folder, without a Loop
    trainer-companion serve --loop HOST               as a node of a Learning Loop, on port 8024
    trainer-companion variants                        the networks to choose from
    trainer-companion hyperparameters                 what can be turned
    """


@cli.command()
@click.option(
    "--coco",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with images/ and annotations.json; for classes, a folder of pictures for each will do.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the model.")
@click.option("--variant", help=f"Network to train; see `trainer-companion variants`.  [default: {DEFAULT}]")
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="Model to begin with: made by this command, or others' weights (.safetensors, .pth).",
)
@click.option("--minutes", type=_Amount(min=0, min_open=True), help="End after so long.")
@click.option("--epochs", type=click.IntRange(min=1), help="End after so many passes over the pictures.")
@click.option("--processes", type=click.IntRange(1, 64), help="How many train together.  [default: cards, or cores]")
@click.option("--torchrun", multiple=True, help="Option for torchrun, where several machines train together.")
@click.option(
    "--vram-limit-gb",
    type=_Amount(min=0),
    envvar="VRAM_LIMIT_GB",
    default=0.0,
    help="GiB of each graphics card that may be used; 0: all. [VRAM_LIMIT_GB]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything random.")
@click.option("--set", "turned", multiple=True, metavar="NAME=VALUE", help="Turn a hyperparameter.")
def train(
    coco: Path,
    out: Path,
    variant: str | None,
    base: Path | None,
    minutes: float | None,
    epochs: int | None,
    processes: int | None,
    torchrun: Sequence[str],
    vram_limit_gb: float,
    seed: int,
    turned: Sequence[str],
) -> None:
    """Train on a folder of pictures, and leave a zip of the best model in --out.

    Interrupted, it ends soon and keeps what is best so far. The same command goes on where a killed one was.

    With several machines, type the same command on each, on a folder that all of them see.
    """
    hyperparameters = _turned(turned) | ({} if epochs is None else {"epochs": epochs})
    folder = out / FOLDER
    asked = job.Job(
        dataset=coco.absolute(),
        variant=variant or (None if base else DEFAULT),
        base=None if base is None else prepared(base, folder.absolute() / "base"),
        hyperparameters=hyperparameters,
        seed=seed,
        minutes=minutes,
        vram_limit_gb=vram_limit_gb or None,
    )
    chosen = recipe_of(asked)
    given = parse(chosen.hyperparameters, hyperparameters)  # refused here, before anything is started
    found = dataset_for(chosen, asked.dataset, given)
    job.write(folder, asked)
    training = Training(folder, processes or _usual_processes(len(found.of("train"))), torchrun)
    printer = _Printer(found)

    def end() -> None:
        click.echo("Ending, and keeping the best model …", err=True)
        training.stop()

    with told_to_end(end):
        done = training.run(printer.heard)
        if not printer.leads:
            click.echo("Another machine led the training; the model lies where its command was told to leave it.")
            return
        target = out / f"{asked.variant or 'model'}.zip"
        pack(Path(done.bundle), target)  # soon done: who interrupts twice gets the model all the same
        job.forget(folder)
    printer.categories()
    click.echo(
        f"On held-out pictures: {done.judgement}, after {done.epochs} "
        f"{'epoch' if done.epochs == 1 else 'epochs'} and {done.seconds:.0f} s "
        f"({_ENDS[done.reason]})."
    )
    formats = ",".join(getattr(chosen, "becomes", ("onnx",)))  # recipes of others need not say
    click.echo(f"{target} is the model. This makes one for a device:")
    click.echo(f"  converter-companion convert {target} --to {formats} --images {coco} --out {out / 'converted'}")


_ENDS = {
    "epochs": "all epochs",
    "minutes": "time is over",
    "patience": "nothing got better any more",
    "stopped": "it was stopped",
}


@cli.command()
@click.option(
    "--recipe",
    "name",
    default="edge",
    show_default=True,
    help=f"Of which recipe: {', '.join(BUILT_IN)}, or one of an own package.",
)
def hyperparameters(name: str) -> None:
    """What can be turned: unit, range, default, and what it does."""
    for parameter, unit, values, default, sentence in table(recipe(name).hyperparameters):
        click.echo(f"{parameter:24}{default or '-':10}{values}{f' {unit}' if unit else ''}\n    {sentence}")


@cli.command()
def variants() -> None:
    """The networks to choose from."""
    found = offers()
    for each in found.usable:
        for variant in each.variants:
            click.echo(f"{variant.name:28}{variant.label}\n    {variant.description}")
    for sentence in found.broken:
        click.echo(sentence, err=True)


class _Printer:
    """Tells a person how the training goes, not too often."""

    def __init__(self, found: Dataset) -> None:
        self._names = dict(zip(found.keys, (category.name for category in found.categories), strict=True))
        self._best: Best | None = None
        self._seconds_left: float | None = None
        self.leads = False
        """Whether this machine is the one that is told how it goes."""

    def heard(self, event: Event) -> None:
        """Print what a person wants to know of it."""
        if isinstance(event, Started):
            self.leads = True
            click.echo(
                f"{event.variant or 'base model'}: {event.parameters:,} weights, {event.processes} process(es) on "
                f"{event.device}, {event.batch_size} pictures a step and process; {event.train_images} pictures to learn "
                f"from, {event.val_images or event.test_images} held out."
            )
        elif isinstance(event, Warned):
            click.echo(event.message, err=True)
        elif isinstance(event, Best):
            self._best = event
        elif isinstance(event, Failed) and event.again:
            click.echo(event.message, err=True)
        elif isinstance(event, Progress) and self._is_news(event):
            parts = [f"{100 * event.share:3.0f} %", f"epoch {event.epoch}"]
            parts += [f"loss {event.loss:.3f}"] if event.loss is not None else []
            parts += [f"{event.images_per_second:.0f} pictures/s"] if event.images_per_second is not None else []
            parts += [f"{event.seconds_left:.0f} s left"] if event.seconds_left is not None else []
            parts += [f"mAP50 {event.map50:.3f}"] if event.map50 is not None else []
            parts += [f"accuracy {event.accuracy:.3f}"] if event.accuracy is not None else []
            click.echo("  ".join(parts))

    def categories(self) -> None:
        """Print the best model's right and wrong detections."""
        if self._best is None:
            return
        click.echo(f"At the best confidence, {self._best.conf_threshold:.2f}:")
        for key, counts in self._best.confusion_matrix.items():
            click.echo(f"  {self._names.get(key, key):24} {counts.tp} found, {counts.fn} missed, {counts.fp} wrong")

    def _is_news(self, event: Progress) -> bool:
        measured = event.map50 is not None or event.accuracy is not None
        if measured or event.seconds_left is None or self._seconds_left is None:
            self._seconds_left = event.seconds_left
            return measured
        if abs(self._seconds_left - event.seconds_left) < SECONDS_BETWEEN_LINES:
            return False
        self._seconds_left = event.seconds_left
        return True


def _turned(pairs: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE`, the value as JSON where it is some."""
    import json

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set wants NAME=VALUE, for example --set learning_rate=0.001, and got {pair!r}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _usual_processes(pictures: int) -> int:
    """One a graphics card; without any, one a core, as far as there are pictures enough for each."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, MOST_PROCESSES, pictures // 64))


cli.add_command(serve)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and say in one sentence what went wrong. Returns the exit status."""
    try:
        cli.main(
            args=None if arguments is None else list(arguments), prog_name="trainer-companion", standalone_mode=False
        )
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DetectorApplianceError as error:
        click.echo(str(error), err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
