"""The command `converter-companion`. Exit status: 0 it worked, 1 it did not, 2 it was called wrongly, 130 interrupted."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from converter_companion import convert as conversion
from converter_companion import installing, pairs, pictures, report, tools, truth
from converter_companion import wrap as wrapping
from converter_companion.report import ParityExceeded
from converter_companion.serve import serve
from converter_companion.settings import ConverterSettings
from models.bundle import Bundle, pack, unpack
from models.errors import DetectorApplianceError, InvalidInput, ModelFailed, SettingsInvalid

INTERRUPTED = 130

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Make of a trained model the formats that devices run, and prove that they see the same.

    \b
    converter-companion install-tools                      once: what makes LiteRT of PyTorch
    converter-companion convert model.zip --to litert --images photos --out converted
    converter-companion serve --loop http://localhost:8014
    """


cli.add_command(serve)


@cli.command("install-tools")
@click.option("--data-dir", type=_FOLDER, help="Folder to install below.")
@click.option("--index", metavar="URL", help="A package index beside the usual one. [PyTorch's for CPUs]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def install_tools(data_dir: Path | None, index: str | None, yes: bool) -> None:
    """Install what makes LiteRT of PyTorch, into an environment of its own.

    \b
    converter-companion install-tools

    It says what it will do and asks. Interrupted, the same command goes on where it was.
    """
    settings = ConverterSettings.load(os.environ, {"data_folder": data_dir})
    if (python := installing.installed(settings.data_folder)) is not None:
        click.echo(f"Everything is installed already. Conversions to litert use {python}.")
        return
    found = installing.extra_index(index)
    click.echo(installing.announcement(settings.data_folder / tools.FOLDER, found))
    if not yes:
        click.confirm("Go on?", abort=True)
    python = installing.install(settings.data_folder, click.echo, found)
    click.echo(f"Done. Conversions to litert use {python}.")


@cli.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path, exists=True))
@click.option("--to", "targets", required=True, metavar="FORMAT,…", help="What to make: litert, onnx, onnx_int8.")
@click.option(
    "--images", type=_FOLDER, help="Pictures to calibrate and compare with; with annotations.json, mAP is measured."
)
@click.option("--out", type=_FOLDER, required=True, help="Where the converted models go, a zip for each format.")
@click.option("--from", "source_format", metavar="FORMAT", help="The format of MODEL, where it does not say it.")
@click.option("--data-dir", type=_FOLDER, help="Where installed tools are kept.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparisons as JSON: format, and its parity.json.")
def convert(
    model: Path,
    targets: str,
    images: Path | None,
    out: Path,
    source_format: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Convert a MODEL, a zip or the folder of one, and compare what comes out with it.

    \b
    converter-companion convert model.zip --to litert,onnx --images photos --out converted
    """
    settings = ConverterSettings.load(os.environ, {"data_folder": data_dir})
    means = conversion.Means(settings.data_folder, settings.litert_tools_python, settings.limits)
    found = pictures.find(images) if images is not None else []
    drawn = truth.read(images) if images is not None else {}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{out} cannot be made: {error.strerror}") from error
    wanted = list(dict.fromkeys(target.strip() for target in targets.split(",") if target.strip()))
    reports: dict[str, Any] = {}
    failures: list[str] = []
    with source_of(model) as bundle:
        source = source_format or conversion.format_of(bundle)
        for target in wanted:
            pairs.converter(source, target)  # before minutes are spent on the first of them
        name = model.stem.removesuffix(f"-{source}")
        for target in wanted:
            path = out / f"{name}-{target}.zip"
            try:
                with tempfile.TemporaryDirectory(dir=out, prefix=".converting-") as folder:
                    done = conversion.convert(
                        bundle,
                        target,
                        Path(folder) / "bundle",
                        found,
                        tell,
                        means=means,
                        source_format=source,
                        annotations=drawn,
                    )
                    pack(done.bundle.folder, path)
            except DetectorApplianceError as error:
                if len(wanted) == 1:
                    raise
                _say_failed(target, error)
                failures.append(target)
                continue
            if done.report is not None:
                reports[target] = done.report.as_json()
                if not as_json:
                    click.echo(report.table(done.report))
            click.echo(f"Wrote {path} ({path.stat().st_size / 1e6:.2f} MB).", err=as_json)
    if as_json:
        click.echo(json.dumps(reports, indent=1))
    if failures:
        raise ModelFailed(f"Not converted to {' and '.join(failures)}; see above.")


def _say_failed(target: str, error: DetectorApplianceError) -> None:
    """Why one of several formats was not made."""
    if isinstance(error, ParityExceeded):
        click.echo(report.table(error.report), err=True)
    click.echo(f"To {target}: {error}", err=True)


@cli.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--labels", type=click.Path(path_type=Path, exists=True), required=True, help="One name a line, in order."
)
@click.option("--out", "target", type=click.Path(path_type=Path), help="The zip to write. [MODEL with .zip]")
@click.option(
    "--picture", type=click.Path(path_type=Path, exists=True), help="A picture in which it should see something."
)
@click.option(
    "--head", help="How the outputs are read: ssd_postprocessed, ssd_raw, yolo, detr, classification, anchor_free."
)
@click.option("--output", "outputs", multiple=True, metavar="NAME=INDEX", help="What the head calls an output.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the head, as JSON.")
@click.option("--channels", type=click.Choice(["RGB", "BGR"]), help="Order of the colours.")
@click.option(
    "--resize", type=click.Choice(["stretch", "letterbox"]), help="How a picture is brought to the model's size."
)
@click.option("--scale", type=float, help="A float input is pixel * SCALE + OFFSET. [1/255]")
@click.option("--offset", type=float, help="See --scale. [0]")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Confidence from which a detection is shown. [0.3]")
def wrap(
    model: Path,
    labels: Path,
    target: Path | None,
    picture: Path | None,
    head: str | None,
    outputs: Sequence[str],
    options: Sequence[str],
    channels: Literal["RGB", "BGR"] | None,
    resize: Literal["stretch", "letterbox"] | None,
    scale: float | None,
    offset: float | None,
    threshold: float | None,
) -> None:
    """Make a bundle of a MODEL that comes from elsewhere, a .tflite or an .onnx, and see that its outputs can be read.

    \b
    converter-companion wrap yolo.onnx --labels names.txt --picture street.jpg
    converter-companion wrap ssd.tflite --labels coco.txt --head ssd_postprocessed
    """
    wishes = wrapping.Wishes(
        head=head,
        outputs={name: int(value) for name, value in map(_named, outputs)},
        options=dict(map(_named, options)),
        channels=channels,
        resize=resize,
        scale=scale,
        offset=offset,
        threshold=threshold,
    )
    names = wrapping.read_labels(labels.read_text(encoding="utf-8", errors="replace"))
    done = wrapping.wrap(model, names, target or model.with_suffix(".zip"), wishes, picture)
    spec = done.inference.weights[0].input
    click.echo(
        f"Head {done.inference.head} {dict(done.inference.weights[0].outputs)}; input {spec.width} x {spec.height} "
        f"{spec.channels} {spec.dtype} {spec.layout}, {spec.resize}."
    )
    if picture is None:
        click.echo("The outputs can be read. Whether they mean what they should shows --picture with a picture.")
    else:
        click.echo(f"In {picture} it sees:\n{wrapping.seen_words(done.answer)}")
    click.echo(f"Wrote {done.path}.")


def _named(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"NAME=VALUE is due, and not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@contextmanager
def source_of(model: Path) -> Iterator[Bundle]:
    """The bundle in a zip, or in a folder. Raises `BundleError` and what unpacking raises."""
    if model.is_dir():
        yield conversion.opened(model)
        return
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        unpack(model, Path(folder) / "bundle")
        yield conversion.opened(Path(folder) / "bundle")


def tell(share: float, doing: str) -> None:
    """Progress, on stderr; in one line where that is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[2K{share:4.0%} {doing}", err=True, nl=share >= 1)
    else:
        click.echo(f"{share:4.0%} {doing}", err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (that of this process where none is given) and return its exit status."""
    try:
        outcome = cli.main(arguments, prog_name="converter-companion", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ParityExceeded as error:
        click.echo(report.table(error.report), err=True)
        click.echo(f"Error: {error} Nothing was written.", err=True)
        return 1
    except SettingsInvalid as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    except DetectorApplianceError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0
