"""What a failed conversion may depend on beside the model: when one of it changes, another try is worth its time."""

from __future__ import annotations

import hashlib
from importlib import metadata

from converter_companion import pairs, tools
from converter_companion.plan import Task
from converter_companion.settings import ConverterSettings
from models.errors import DetectorApplianceError
from models.loop.client import LoopProject


def of(settings: ConverterSettings, task: Task) -> str:
    """This program, its tools, its limits, an own converter, as one word. Blocks."""
    try:
        python = tools.find_python(settings.litert_tools_python, settings.data_folder)
        installed = f"{python} {python.stat().st_mtime_ns}"
    except (DetectorApplianceError, OSError):
        installed = "none"
    parts = [metadata.version("detector-appliance"), installed, settings.limits.model_dump_json()]
    if own := pairs.edition(task.source, task.target):
        parts.append(own)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def with_pictures(circumstances: str, pictures: int) -> str:
    """A project with twice the pictures is worth another try: calibration and comparison may come out differently."""
    return f"{circumstances}/{pictures.bit_length()}"


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
