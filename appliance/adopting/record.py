"""What was adopted before, so that it is neither done nor said again: `DATA/adopted.json`."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.files import FileSystem, refusal

log = logging.getLogger(__name__)

RECORD_FILE = "adopted.json"
MAX_FILE_BYTES = 16 << 20
MAX_LEFT_ALONE = 100_000


class LeftModel(BaseModel):
    """A model that learning-loop-node has left. `why_not` is a sentence on why this box cannot run it; None if it can."""

    model_config = ConfigDict(frozen=True)

    folder: str
    format: str = ""
    why_not: str | None = None


class Record(BaseModel):
    """`pictures`: how many were moved to our queue so far. `left_alone`: folders below `outbox/` that stay as they are."""

    model_config = ConfigDict(frozen=True)

    pictures: int = 0
    left_alone: tuple[str, ...] = ()
    models: tuple[LeftModel, ...] = ()
    complete: bool = Field(default=True, description="false: something was in the way, the next start goes on")

    def foreign(self) -> list[dict[str, str]]:
        """The models that this box cannot run: folder, format and reason, for lists."""
        return [
            {"folder": model.folder, "format": model.format, "reason": model.why_not}
            for model in self.models
            if model.why_not is not None
        ]


def load(path: Path) -> Record | None:
    """What was adopted; None where nobody has looked yet, or the file cannot be understood: adopting twice does no harm."""
    try:
        with path.open("rb") as file:
            return Record.model_validate_json(file.read(MAX_FILE_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read (%s): what learning-loop-node left is looked at again", path, error)
        return None


def save(path: Path, record: Record, files: FileSystem) -> None:
    """Store it durably. Where the disk does not let it be stored, the next start looks again."""
    kept = record.model_copy(update={"left_alone": record.left_alone[-MAX_LEFT_ALONE:]})
    try:
        files.make_folders(path.parent)
        files.write_atomically(path, kept.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        log.warning("%s", refusal(error, f"note in {path} what was adopted"))
