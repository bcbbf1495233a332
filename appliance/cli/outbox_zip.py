"""`appliance outbox export FILE.zip`."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from appliance.outbox.export import MANIFEST
from models.errors import InvalidInput
from models.files import refusal


class Packing(Protocol):
    """The outbox, be it a server's or a folder. All methods raise `DetectorApplianceError`."""

    def size(self, *, rejected: bool) -> int: ...

    def packed(self, *, rejected: bool) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Written:
    """How many pictures are in a zip, how many were sent or deleted while it was made, and its bytes."""

    pictures: int
    left_out: int
    bytes: int


def write_zip(outbox: Packing, path: Path, *, rejected: bool) -> Written:
    """Write the pictures to `path`, which is there as a whole or not at all, and show how far it has come.

    Raises `InvalidInput` where something is there already, `StorageRefused` where the disk fails.
    """
    if path.exists():
        raise InvalidInput(f"{path} is there already; choose another name, or remove it first.")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                part.open("wb") as file,
                click.progressbar(length=outbox.size(rejected=rejected), label="Packing", file=sys.stderr) as bar,
            ):
                for piece in outbox.packed(rejected=rejected):
                    file.write(piece)
                    bar.update(len(piece))
            written = _look_into(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise refusal(error, f"write the pictures to {path}") from error
    return written


def _look_into(path: Path) -> Written:
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read(MANIFEST))
    return Written(told["pictures"], len(told["left_out"]), path.stat().st_size)
