"""Which conversions are due, when one that failed is tried again, and which are no matter any more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from models.wire.loop import LoopModel

Pair = tuple[str, str]
"""Source and target format."""


@dataclass(frozen=True)
class Task:
    """One model that has a source format and lacks the target."""

    organization: str
    project: str
    model_id: str
    version: str
    source: str
    target: str

    @property
    def key(self) -> str:
        """What a failure is remembered under."""
        return f"{self.organization}/{self.project}/{self.model_id}/{self.source}/{self.target}"

    @property
    def words(self) -> str:
        """For people."""
        return f"version {self.version} of {self.organization}/{self.project} from {self.source} to {self.target}"


class Failure(BaseModel):
    """A conversion that did not work. `file` tells the source's file, `circumstances` everything else that mattered.

    `applies`: false where the pair is not for a network of this kind, so that nothing has failed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    reason: str
    file: str
    circumstances: str
    applies: bool = True
    version: str = ""
    when: float = 0.0


def due(organization: str, project: str, models: Iterable[LoopModel], pairs: Sequence[Pair]) -> list[Task]:
    """Conversions that the models of a project lack, the newest model first. Unpublished models are left alone."""
    found = []
    for model in reversed(list(models)):
        for source, target in pairs:
            if model.version is not None and source in model.formats and target not in model.formats:
                found.append(Task(organization, project, model.id, model.version, source, target))
    return found


def past(failures: Iterable[str], lacking: Iterable[Task], unread: Iterable[tuple[str, str]]) -> list[str]:
    """Keys of failures that need not be remembered: of models that are gone, or have the format from somebody else.

    `lacking`: all that is due; `unread`: organization and project of those that could not be asked, and may lack it still.
    """
    due_keys = {task.key for task in lacking}
    kept = tuple(f"{organization}/{project}/" for organization, project in unread)
    return [key for key in failures if key not in due_keys and not key.startswith(kept)]


def is_settled(task: Task, failures: Mapping[str, Failure], file: str | None, circumstances: str) -> bool:
    """Whether it failed before and would fail again: the same file, converted under the same circumstances.

    `file` is None where the Loop does not say which file it has: then only other circumstances are a reason to try again.
    """
    failure = failures.get(task.key)
    if failure is None or failure.circumstances != circumstances:
        return False
    return file is None or failure.file in ("", file)
