"""Files of a form as they come in, straight to the disk: models are larger than memory."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from starlette.requests import Request

from appliance.api.bodies import ENVELOPE, chunks, declared_size
from appliance.api.forms import FormFiles
from appliance.loop_server.model_zips import ReceivedFile
from models.bundle_zip import DEFAULT_LIMITS
from models.errors import InputTooLarge, NoRoom
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.uninterrupted import in_thread

log = logging.getLogger(__name__)

FREE_SPACE_FLOOR = 200 * 1000 * 1000
"""Bytes that uploads leave free on the disk."""

_WRITE_AT = 1024 * 1024


@asynccontextmanager
async def incoming_folder(below: Path, files: FileSystem = FILE_SYSTEM) -> AsyncIterator[Path]:
    """A folder for the length of the block, on the disk of the data. Raises `StorageRefused`, `NoRoom`."""
    folder = below / uuid4().hex
    try:
        try:
            await in_thread(files.make_folders, folder)
        except OSError as error:
            raise refusal(error, "store the upload") from error
        yield folder
    finally:
        try:
            await in_thread(files.remove_tree, folder)
        except OSError as error:  # what came of the upload is what counts; the next start removes it
            log.warning("%s stays until the next start: %s", folder, error)


async def receive_files(request: Request, folder: Path, limit: int, example: str) -> list[ReceivedFile]:
    """The files in the form's field `files`, at most `limit` bytes of them, in `folder`.

    Raises `InvalidInput` for what is no such form, `InputTooLarge`, `NoRoom`, `StorageRefused`.
    """
    declared_size(request, limit + ENVELOPE)
    form = FormFiles(request.headers.get("content-type", ""), "files", example)
    store = _Store(folder, form)
    try:
        try:
            async for chunk in chunks(request, limit + ENVELOPE):
                form.feed(chunk)
                if len(form.files) > DEFAULT_LIMITS.files:
                    raise InputTooLarge(f"The form has more than {DEFAULT_LIMITS.files} files; a model has few")
                store.pending += len(chunk)
                if store.pending >= _WRITE_AT:
                    await in_thread(store.write)
            form.finish()
            await in_thread(store.write)
        finally:
            await in_thread(store.close)
    except OSError as error:
        raise refusal(error, "store the upload") from error
    return store.received


class _Store:
    """Writes what has come of each file of the form."""

    def __init__(self, folder: Path, form: FormFiles) -> None:
        self.received: list[ReceivedFile] = []
        self.pending = 0
        self._folder = folder
        self._form = form
        self._open: BinaryIO | None = None

    def write(self) -> None:
        if FILE_SYSTEM.free_bytes(self._folder) - self.pending < FREE_SPACE_FLOOR:
            raise NoRoom("The disk of the loop is nearly full: remove models or images that are not needed")
        self.pending = 0
        for number, file in enumerate(self._form.files):
            if number < len(self.received) - 1:
                continue  # written to its end before
            if number == len(self.received):
                self.close()
                path = self._folder / f"part-{number}"
                self._open = path.open("wb")
                self.received.append(ReceivedFile(file.name, path))
            assert self._open is not None
            self._open.write(file.take())

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
