"""`appliance detect`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import click

from appliance.cli.place import Place, with_place
from appliance.cli.server import Server
from models.bundle import Bundle
from models.errors import DetectorApplianceError, InvalidInput, StorageRefused
from models.image_headers import ImageLimits, read_header
from models.wire.image_metadata import ImageMetadata
from ui.kit.colours import palette

MEGABYTE = 2**20
WRITABLE = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WebP"}
"""What pictures with boxes can be written as."""


@dataclass(frozen=True)
class Looking:
    """Something that looks at pictures: this process, or a server. `colours`: category name -> `#rrggbb`."""

    look: Callable[[bytes, str], ImageMetadata]
    colours: Mapping[str, str]


@click.command()
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...", type=click.Path(path_type=Path))
@click.option(
    "--model", metavar="VERSION|BUNDLE", help="A version on this box, or a folder or zip. [the one that serves]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: file name -> answer.")
@click.option(
    "--draw", metavar="OUT", type=click.Path(path_type=Path), help="Write pictures with boxes: a file or a folder."
)
@with_place
@click.pass_context
def detect(
    context: click.Context,
    place: Place,
    pictures: tuple[Path, ...],
    model: str | None,
    as_json: bool,
    draw: Path | None,
) -> None:
    """Say what is in pictures (JPEG, PNG or WebP).

    \b
    appliance detect photo.jpg
    appliance detect *.jpg --json > found.json
    appliance detect photo.jpg --draw found.jpg
    appliance detect *.jpg --draw folder/
    appliance detect photo.jpg --model my_model.zip

    Nothing is kept: pictures that are looked at by hand are not sent to the Loop. A picture that cannot be read does not
    keep the others from being answered; the exit status is 1 then.
    """
    if as_json and draw:
        raise click.UsageError("--json and --draw cannot be combined.")
    folder = place.surroundings.working_directory
    drawing = _Drawing(folder / draw, several=len(pictures) > 1, into_folder=str(draw).endswith("/")) if draw else None
    limits = ImageLimits(place.settings.max_image_mb * MEGABYTE, place.settings.max_image_megapixels * 1_000_000)
    answers: dict[str, dict[str, Any]] = {}
    failed = False
    with _looking(place, model) as looking:
        for picture in _with_progress(pictures, shown=as_json and len(pictures) > 1):
            try:
                data = _read(folder / picture, limits)
                found = looking.look(data, picture.name)
                target = drawing.write(data, found, looking.colours, folder / picture, limits) if drawing else None
            except DetectorApplianceError as error:
                failed = True
                answers[str(picture)] = {"error": str(error)}
                if not as_json:
                    click.echo(f"{picture}: {error}", err=True)
                continue
            answers[str(picture)] = found.model_dump(mode="json")
            if not as_json:
                click.echo(_in_words(picture, found, target))
    if as_json:
        click.echo(json.dumps(answers, indent=2))
    if failed:
        context.exit(1)


@contextmanager
def _looking(place: Place, model: str | None) -> Iterator[Looking]:
    """The server where one runs and no other model is asked for, else this process."""
    server = place.server() if model is None else None
    with ExitStack() as stack:
        if server is not None:
            stack.enter_context(server)
            yield _at(server)
            return
        bundle = stack.enter_context(_bundle(place, model))
        yield _here(place, bundle, stack)


def _at(server: Server) -> Looking:
    categories = (server.about().get("model_info") or {}).get("categories", [])
    colours = palette({category["name"]: category.get("color") for category in categories})
    return Looking(lambda data, name: ImageMetadata.model_validate(server.detect(data, name)), colours)


def _here(place: Place, bundle: Bundle, stack: ExitStack) -> Looking:
    """Load the model, as the settings want it run."""
    from appliance.cli.local import LocalModel

    model = stack.enter_context(LocalModel(bundle, place.settings))
    colours = palette({category.name: category.color for category in bundle.model.categories})
    return Looking(lambda data, _name: model.detect(data), colours)


@contextmanager
def _bundle(place: Place, model: str | None) -> Iterator[Bundle]:
    """A folder, a zip (unpacked for the time being), a version, or what would serve."""
    from appliance.cli.folder import Folder
    from models.bundle import open_bundle, unpack

    path = place.surroundings.working_directory / model if model is not None else None
    if path is None or not path.exists():
        yield Folder(place.settings).bundle(model)
    elif path.is_dir():
        yield open_bundle(path)
    else:
        with tempfile.TemporaryDirectory(prefix="appliance-") as scratch:
            unpack(path, Path(scratch) / "bundle")
            yield open_bundle(Path(scratch) / "bundle")


def _read(path: Path, limits: ImageLimits) -> bytes:
    """Raises `InvalidInput` in words."""
    try:
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except FileNotFoundError as error:
        raise InvalidInput("There is no such file.") from error
    except IsADirectoryError as error:
        raise InvalidInput("That is a folder; name the pictures in it, as in folder/*.jpg") from error
    except OSError as error:
        raise InvalidInput(f"It cannot be read: {error.strerror}.") from error
    limits.check_bytes(len(data))
    return data


class _Drawing:
    """Writes pictures with boxes to one file, or beside each other into a folder."""

    def __init__(self, out: Path, *, several: bool, into_folder: bool) -> None:
        self._out = out
        self._folder = several or into_folder or out.is_dir()
        self._written: set[Path] = set()
        if self._folder and out.exists() and not out.is_dir():
            raise InvalidInput(f"--draw {out} is a file; for several pictures it must name a folder.")
        if not self._folder and out.suffix.lower() not in WRITABLE:
            raise InvalidInput(f"--draw {out.name} must end with one of {', '.join(WRITABLE)}, or name a folder.")

    def write(
        self, data: bytes, found: ImageMetadata, colours: Mapping[str, str], source: Path, limits: ImageLimits
    ) -> Path:
        """Returns where the picture is. Raises `StorageRefused`."""
        from appliance.cli.drawing import draw
        from models.images import prepare

        header = read_header(data, limits)
        pixels = prepare(data, header.width, header.height, limits=limits).pixels
        target = self._target(source)
        if target.exists() and target.samefile(source):
            raise StorageRefused(f"{target} is the picture itself, which is not overwritten; name another --draw.")
        encoded = BytesIO()
        draw(pixels, found, colours).save(encoded, WRITABLE[target.suffix.lower()], quality=92)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encoded.getvalue())
        except OSError as error:
            raise StorageRefused(f"{target} cannot be written: {error.strerror}.") from error
        self._written.add(target)
        return target

    def _target(self, source: Path) -> Path:
        if not self._folder:
            return self._out
        suffix = source.suffix if source.suffix.lower() in WRITABLE else ".jpg"
        target, number = self._out / f"{source.stem}{suffix}", 1
        while target in self._written:  # the same name from another folder
            number += 1
            target = self._out / f"{source.stem}-{number}{suffix}"
        return target


def _with_progress(pictures: Sequence[Path], *, shown: bool) -> Iterable[Path]:
    if not shown:
        yield from pictures
        return
    with click.progressbar(pictures, label="Looking", file=sys.stderr) as bar:
        yield from bar


def _in_words(picture: Path, found: ImageMetadata, target: Path | None) -> str:
    lines = [f"{picture}: {len(found) or 'nothing'} found" + (f", drawn into {target}" if target else "")]
    lines += [
        f"  {box.confidence:4.0%}  {box.category_name}  at {box.x},{box.y}, {box.width} x {box.height}"
        for box in found.box_detections
    ]
    lines += [
        f"  {point.confidence:4.0%}  {point.category_name}  at {point.x:g},{point.y:g}"
        for point in found.point_detections
    ]
    lines += [
        f"  {other.confidence:4.0%}  {other.category_name}"
        for other in (*found.segmentation_detections, *found.classification_detections)
    ]
    return "\n".join(lines)
