"""Looking at all pictures again after a restart, with what is set by then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from models.files import FileSystem
from trainer_companion import findings, look
from trainer_companion.workplace import Workplace


class CountedFiles(FileSystem):
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write_atomically(self, path: Path, data: bytes) -> None:
        self.written.append(path.name)
        super().write_atomically(path, data)


@pytest.mark.parametrize(
    ("batch_size", "limit_gb", "writes"),
    [pytest.param(10, 0.0, 0, id="as before"), (3, 0.0, 1), (10, 2.5, 1), (3, 2.5, 1)],
)
def test_what_was_turned_down_since_holds_for_what_is_left(
    tmp_path: Path, batch_size: int, limit_gb: float, writes: int
) -> None:
    begun = look.Task(bundle=tmp_path, images=tmp_path, batch_size=10, sights=[])
    (tmp_path / look.TASK).write_text(begun.model_dump_json())
    files = CountedFiles()

    async def fetch_model(model_id: str, to: Path) -> SimpleNamespace:
        del model_id
        return SimpleNamespace(folder=to)

    work = SimpleNamespace(
        run=SimpleNamespace(model_id="m", looked_at=True),
        folders=SimpleNamespace(detections=lambda run: tmp_path, detector=lambda run: tmp_path),
        settings=SimpleNamespace(inference_batch_size=batch_size, vram_limit_gb=limit_gb),
        files=files,
        fetch_model=fetch_model,
        tell=lambda share: None,
    )
    asyncio.run(findings.detect(cast(Workplace, work)))
    left = look.Task.model_validate_json((tmp_path / look.TASK).read_bytes())
    assert (left.batch_size, left.vram_limit_gb) == (batch_size, limit_gb or None)
    assert files.written == [look.TASK] * writes
