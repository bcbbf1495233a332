"""The command `annotator-companion`.

Exit status: 0 it worked, 1 it did not, 2 it was called wrongly, 130 it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from annotator_companion.pictures import decoded
from annotator_companion.serve import serve
from annotator_companion.tools import tools
from annotator_companion.trying import try_box
from models.errors import DetectorApplianceError, StorageRefused
from models.files import FILE_SYSTEM, refusal
from models.images import DEFAULT_LIMITS, encode_jpeg

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Help people draw masks.

    \b
    annotator-companion try photo.jpg --box 100,80,300,200 --out overlay.png    without a Loop
    annotator-companion serve --loop http://localhost:8014                      for the pages of a Loop
    """


def _box(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int, int, int]:
    """`x,y,width,height` in pixels."""
    try:
        x, y, width, height = (round(float(part)) for part in value.split(","))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{value!r} is no box: four numbers are due, as 100,80,300,200", ctx, param) from error
    if width < 1 or height < 1:
        raise click.BadParameter(f"{value!r} is empty: width and height are 1 pixel at least", ctx, param)
    return x, y, width, height


@cli.command("try")
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--box",
    callback=_box,
    metavar="X,Y,WIDTH,HEIGHT",
    required=True,
    help="Around the thing: top-left corner and size, pixels.",
)
@click.option("--tool", "name", default="grabcut", show_default=True, help="Which tool shall find it.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="PNG or JPEG with the mask drawn on it.")
@click.option(
    "--epsilon", type=click.FloatRange(min=0), help="How far the polygon may depart from the mask, pixels. [1]"
)
@click.option("--encoder", type=click.Path(path_type=Path), help="ONNX encoder, for the tool prompt.")
@click.option("--decoder", type=click.Path(path_type=Path), help="ONNX decoder, for the tool prompt.")
def try_(
    picture: Path,
    box: tuple[int, int, int, int],
    name: str,
    out: Path | None,
    epsilon: float | None,
    encoder: Path | None,
    decoder: Path | None,
) -> None:
    """Find the thing in a box, and print its polygon: x,y of each corner.

    \b
    annotator-companion try photo.jpg --box 100,80,300,200 --out overlay.png
    annotator-companion try photo.jpg --box 100,80,300,200 --tool livewire
    annotator-companion try photo.jpg --box 100,80,300,200 --tool prompt --encoder e.onnx --decoder d.onnx

    Nothing is sent anywhere.
    """
    [tool] = tools([name], encoder, decoder)
    try:
        data = picture.read_bytes()
    except OSError as error:
        raise refusal(error, f"read {picture}") from error
    tried = try_box(tool, decoded(data, DEFAULT_LIMITS), box, epsilon)
    click.echo(" ".join(f"{x},{y}" for x, y in tried.polygon))
    if out is not None:
        written = _encoded(tried.drawn, out)
        try:
            FILE_SYSTEM.write_atomically(out.absolute(), written)
        except OSError as error:
            raise refusal(error, f"write {out}") from error
        click.echo(f"{out}: the mask drawn on the picture", err=True)


cli.add_command(serve)


def _encoded(pixels: Any, out: Path) -> bytes:
    import cv2

    if out.suffix.lower() in (".jpg", ".jpeg"):
        return encode_jpeg(pixels)
    if out.suffix.lower() != ".png":
        raise StorageRefused(f"{out} is neither .png nor .jpg; nothing was written")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and say in one sentence what went wrong. Returns the exit status."""
    try:
        cli.main(
            args=None if arguments is None else list(arguments), prog_name="annotator-companion", standalone_mode=False
        )
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DetectorApplianceError as error:
        click.echo(str(error), err=True)
        return 1
    return 0
