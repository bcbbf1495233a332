"""What every stage of a training works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from models.bundle import MODEL_JSON, Bundle, open_bundle
from models.bundle_zip import DEFAULT_LIMITS, unpack
from models.files import FileSystem, refusal
from models.loop.project import LoopProject
from models.uninterrupted import in_thread
from trainer_companion.bases import Base, open_base
from trainer_companion.run_state import Folders, Run
from trainer_companion.settings import TrainerSettings

PYTORCH = "appliance_pytorch"
"""The format from which a trainer goes on."""


@dataclass
class Workplace:
    """One training at work. `save` writes the run down; `tell` says how far the stage is, 0..1, None for unknown."""

    run: Run
    project: LoopProject
    folders: Folders
    settings: TrainerSettings
    files: FileSystem
    save: Callable[[], Awaitable[None]]
    tell: Callable[[float | None], None]

    async def make_folder(self, folder: Path) -> Path:
        """Have a folder. Raises `StorageRefused`."""
        try:
            await in_thread(self.files.make_folders, folder)
        except OSError as error:
            raise refusal(error, f"make the folder {folder}") from error
        return folder

    async def remove(self, path: Path) -> None:
        """Have it not. Raises `StorageRefused`."""
        try:
            await in_thread(self.files.remove_tree, path)
        except OSError as error:
            raise refusal(error, f"remove {path}") from error

    async def fetch_model(self, model_id: str, to: Path) -> Bundle:
        """A model in the trainer's format as the Loop hands it out, in the folder `to`, once it is complete.

        Raises `LoopError`, `StorageRefused`, and `BundleError` or `InputTooLarge` for what is no such model.
        """
        await self._fetch(model_id, to)
        return await asyncio.to_thread(open_bundle, to)

    async def fetch_base(self, model_id: str, to: Path) -> Base:
        """Like `fetch_model`, for a model to begin with: it need not be one that runs."""
        await self._fetch(model_id, to)
        return await asyncio.to_thread(open_base, to)

    async def _fetch(self, model_id: str, to: Path) -> None:
        if not (to / MODEL_JSON).exists():
            zipped = to.with_name(f"{to.name}.zip")
            await self.make_folder(to.parent)
            await self.project.download_model(model_id, PYTORCH, zipped, max_bytes=DEFAULT_LIMITS.zip_bytes)
            await in_thread(self._unpack, zipped, to)

    def _unpack(self, zipped: Path, to: Path) -> None:
        """Present means complete: unpacked under another name, which it loses when all is there."""
        unpacking = to.with_name(f".{to.name}.new")
        try:
            self.files.remove_tree(unpacking)
            unpack(zipped, unpacking, file_system=self.files)
            self.files.remove_tree(to)
            self.files.rename_durably(unpacking, to)
            self.files.remove_tree(zipped)
        except OSError as error:
            raise refusal(error, f"unpack {zipped.name}") from error
