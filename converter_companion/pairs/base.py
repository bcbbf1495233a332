"""What a converter is: a class for one pair of formats.

To add one, write a class that has what `Converter` has and name it in the entry-point group
`detector_appliance.converters` of a package, as `SOURCE-to-TARGET`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models.bundle import Bundle

GROUP = "detector_appliance.converters"
"""Entry-point group in which other packages offer converters."""

Progress = Callable[[float, str], None]
"""Is told the share that is done, 0..1, and what is being done. May be called from any thread."""


@dataclass(frozen=True)
class Work:
    """One conversion.

    `source`: the bundle to convert, unpacked; nothing may be changed in it. `out`: an empty folder for the result.
    `pictures`: files of pictures that show what the model will see, for calibration; maybe none. `data_folder`: where
    this program keeps what it installed. `tools_python`: setting LITERT_TOOLS_PYTHON. `stopped` is set when nobody wants
    the result any more. `left_out`: sentences of a converter about weights that it could not make beside the others; they
    stand in the report of the comparison.
    """

    source: Bundle
    out: Path
    pictures: Sequence[Path]
    data_folder: Path
    progress: Progress
    tools_python: Path | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    left_out: list[str] = field(default_factory=list)


class Converter(Protocol):
    """Makes a model of one format from that of another. One new instance, made without arguments, for each conversion.

    `source` and `target` are formats as in the Loop's URLs (`[a-z0-9_.-]+`). `compared`: whether both can be run and see the
    same; then source and result are run over pictures afterwards, and a result that differs too much is thrown away.
    Without it only the files are handed on, and the source need not be a model that this program understands.
    """

    source: str
    target: str
    compared: bool

    def convert(self, work: Work) -> None:
        """Write a bundle into `work.out`: `model.json` and weight files, flat.

        Called once, in a thread of the converter's process, one conversion at a time; it may take minutes and should look at
        `work.stopped` between its steps. `model.json` is best the source's with other `format` and `inference.weights`
        (`described`). Whatever it raises ends this conversion only: the sentence is remembered with the model, and it is
        not tried again before the model or this program changes. Raise an error of `models.errors` to say it well;
        `NotApplicable` where the pair is not for models of this kind, which is then shown, but not as a failure.
        """
