"""What a failed conversion may depend on beside the model: when one of it changes, another try is worth its time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from converter_companion import pairs, tools
from converter_companion.plan import Task
from converter_companion.settings import ConverterSettings
from models.errors import DetectorApplianceError
from models.loop.client import LoopProject


@dataclass(frozen=True)
class Circumstances:
    """Each as one word. `program`: this program and an own converter; `everything`: the tools and the limits, too."""

    program: str
    everything: str

    def that_matter(self, applies: bool, pictures: int) -> str:
        """For a conversion that failed; which pair is for which network depends on the program alone.

        A project with twice the pictures is worth another try: calibration and comparison may come out differently.
        """
        return f"{self.everything}/{pictures.bit_length()}" if applies else self.program


def of(settings: ConverterSettings, task: Task) -> Circumstances:
    """As they are now. Blocks."""
    program = [metadata.version("detector-appliance")]
    own = [found] if (found := pairs.edition(task.source, task.target)) else []
    return Circumstances(_word(program + own), _word([*program, *_means(settings), *own]))


def _means(settings: ConverterSettings) -> list[str]:
    try:
        python = tools.find_python(settings.litert_tools_python, settings.data_folder)
        installed = f"{python} {python.stat().st_mtime_ns}"
    except (DetectorApplianceError, OSError):
        installed = "none"
    return [installed, settings.limits.model_dump_json()]


def _word(parts: Sequence[str]) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


class Pictures:
    """How many pictures a project has, asked for at most once a look: the answer names them all."""

    def __init__(self, project: LoopProject) -> None:
        self._project = project
        self._number: int | None = None

    async def number(self) -> int:
        """Raises `LoopError`."""
        if self._number is None:
            self._number = len((await self._project.data()).image_ids)
        return self._number
