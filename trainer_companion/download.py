"""Pictures of a project, from the Loop to the disk: several at a time, each once, and only whole ones.

A picture that is there under its name is complete: it came under another one, was decoded, and was synced before it got
its name, many together. One that is damaged leaves a mark in its place, so that it is not fetched again.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models.errors import DetectorApplianceError, ImageUnreadable, InputTooLarge, NotInLoop
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.image_headers import read_header
from models.uninterrupted import in_thread, to_its_end
from models.wire.project_data import ImageData, ProjectData
from trainer_companion.children import ChildFailed
from trainer_companion.inspecting import Inspect, inspected
from trainer_companion.jpeg_inspection import JpegInspector
from trainer_companion.loop_dataset import Stored

log = logging.getLogger(__name__)

AT_ONCE = 10
"""Requests to the Loop at the same time."""

ASK_FOR = 100
"""Images that one request may name."""

SYNC_EVERY = 200
"""Pictures that get their names together: the most that is fetched again after a power cut."""

HEADER_BYTES = 256 * 1024
"""Of a picture that is there already: enough to read its size."""

DAMAGED = ".damaged"
INCOMING = ".incoming"

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

Progress = Callable[[float], None]


class Source(Protocol):
    """What is needed of a project of the Loop: see `models.loop.project.LoopProject`."""

    async def data(self, state: str | None = None) -> ProjectData: ...

    async def images(self, ids: Sequence[str], model_version: str | None = None) -> list[ImageData]: ...

    async def download_image(self, image_id: str) -> bytes: ...


@dataclass(frozen=True)
class Fetched:
    """What lies on the disk: image id -> picture. `skipped`: those that are damaged, or that the Loop does not have."""

    stored: dict[str, Stored]
    skipped: int


@dataclass
class _UnderWay:
    """Pictures on their way from the Loop to the disk: `coming` over the network (None: no more will), `arrived` under
    preliminary names, `stored` under their own.
    """

    total: int
    progress: Progress
    stored: dict[str, Stored]
    skipped: int
    arrived: dict[str, Stored] = field(default_factory=dict)
    coming: asyncio.Queue[tuple[str, bytes] | None] = field(default_factory=lambda: asyncio.Queue(AT_ONCE))

    def tell(self) -> None:
        """How far it is."""
        self.progress((len(self.stored) + len(self.arrived) + self.skipped) / max(1, self.total))


def file_name(image_id: str) -> str:
    """Of the picture with this id, which comes from the Loop and may be anything."""
    return f"{image_id if _PLAIN.fullmatch(image_id) else hashlib.sha256(image_id.encode()).hexdigest()}.jpg"


async def described(source: Source, ids: Sequence[str], progress: Progress) -> list[ImageData]:
    """What the Loop knows of these images, in the order of the ids. Raises `LoopError`."""
    portions = [ids[start : start + ASK_FOR] for start in range(0, len(ids), ASK_FOR)]
    found: dict[str, ImageData] = {}
    done = 0

    async def ask(some: Sequence[str]) -> None:
        nonlocal done
        for image in await source.images(some):
            found[image.id] = image
        done += 1
        progress(done / len(portions))

    await _several(ask, portions)
    return [found[id] for id in ids if id in found]


class Images:
    """The folder of the pictures of one project. `inspect` is given files and their bytes; without it, see `inspected`."""

    def __init__(self, folder: Path, files: FileSystem = FILE_SYSTEM, inspect: Inspect | None = None) -> None:
        self._folder = folder
        self._files = files
        self._inspect = inspect
        self.fetched = 0
        """Pictures that came over the network since this was made."""

    async def fetch(self, source: Source, ids: Sequence[str], progress: Progress) -> Fetched:
        """Have these pictures on the disk. Raises `LoopError`, `StorageRefused` and `ChildFailed`; what has come by then
        stays.
        """
        if self._inspect is not None:
            return await self._fetch(source, ids, progress, self._inspect)
        jpegs = JpegInspector()
        try:
            return await self._fetch(source, ids, progress, functools.partial(inspected, jpegs))
        finally:
            await in_thread(jpegs.close)

    async def _fetch(self, source: Source, ids: Sequence[str], progress: Progress, inspect: Inspect) -> Fetched:
        ids = list(dict.fromkeys(ids))
        stored, missing, damaged = await in_thread(self._there, ids)
        under_way = _UnderWay(len(ids), progress, stored, damaged)
        under_way.tell()

        async def get(id: str) -> None:
            try:
                data = await source.download_image(id)
            except NotInLoop as error:  # deleted meanwhile
                log.warning("%s", error)
                under_way.skipped += 1
                under_way.tell()
                return
            self.fetched += 1
            await under_way.coming.put((id, data))

        storing = asyncio.create_task(self._store(under_way, inspect))
        fetching = asyncio.create_task(_several(get, missing))
        await to_its_end(_ended(fetching, under_way, storing), interrupt=fetching.cancel)
        progress(1.0)
        return Fetched({id: stored[id] for id in ids if id in stored}, under_way.skipped)

    async def _store(self, under_way: _UnderWay, inspect: Inspect) -> None:
        """Have on the disk what comes, to its end. What came meanwhile goes together: to wake a thread and a process for each
        picture takes half of the rate. Raises `StorageRefused`, `ChildFailed`.
        """
        more = True
        while more:
            batch = [await under_way.coming.get()]
            while not under_way.coming.empty():
                batch.append(under_way.coming.get_nowait())
            pictures = [each for each in batch if each is not None]
            more = len(pictures) == len(batch)
            found, refused = await asyncio.to_thread(self._take, pictures, inspect)
            for id, each in found.items():
                if each is None:
                    under_way.skipped += 1
                else:
                    under_way.arrived[id] = each
                under_way.tell()
            arrived = under_way.arrived
            if arrived and (len(arrived) >= SYNC_EVERY or not more or refused is not None):
                await asyncio.to_thread(self._name, list(arrived))
                under_way.stored.update(arrived)
                arrived.clear()
            if refused is not None:
                raise refused

    def forget_damage(self) -> None:
        """Fetch damaged pictures once more from now on: somebody may have mended them. Blocks."""
        try:
            for mark in self._folder.glob(f"*{DAMAGED}"):
                self._files.unlink(mark)
        except OSError as error:
            raise refusal(error, f"look through {self._folder}") from error

    def keep_only(self, ids: Sequence[str]) -> int:
        """Remove the pictures of all other ids; returns how many. Blocks."""
        names = {file_name(id) for id in ids}
        gone = 0
        try:
            for path in list(self._folder.iterdir()) if self._folder.is_dir() else []:
                if path.name not in names and path.name.removesuffix(DAMAGED) not in names:
                    self._files.remove_tree(path)
                    gone += 1
        except OSError as error:
            raise refusal(error, f"clear {self._folder}") from error
        return gone

    def _there(self, ids: Sequence[str]) -> tuple[dict[str, Stored], list[str], int]:
        """Pictures on the disk, ids that have to be fetched, and the number of damaged ones."""
        try:
            self._files.make_folders(self._folder)
            names = {path.name for path in self._folder.iterdir()}
            for name in names:
                if name.endswith(INCOMING):  # cut off before it got its name
                    self._files.remove_tree(self._folder / name)
        except OSError as error:
            raise refusal(error, "store the pictures of the project") from error
        stored: dict[str, Stored] = {}
        missing: list[str] = []
        damaged = 0
        for id in ids:
            name = file_name(id)
            if name + DAMAGED in names:
                damaged += 1
                continue
            size = _size_of(self._folder / name) if name in names else None
            if size is None:
                missing.append(id)
            else:
                stored[id] = Stored(name, *size)
        return stored, missing, damaged

    def _take(
        self, pictures: Sequence[tuple[str, bytes]], inspect: Inspect
    ) -> tuple[dict[str, Stored | None], DetectorApplianceError | None]:
        """Write pictures under preliminary names; None for those that are damaged, which is noted.

        Where the disk refuses one, those before it are taken, and the refusal is returned; so is `ChildFailed`.
        """
        written: list[tuple[str, Path, bytes]] = []
        refused: DetectorApplianceError | None = None
        for id, data in pictures:
            incoming = self._folder / f"{file_name(id)}{INCOMING}"
            try:
                self._files.remove_tree(incoming)
                with self._files.create_exclusive(incoming) as file:
                    file.write(data)
            except OSError as error:
                refused = refusal(error, f"store image {id[:100]}")
                break
            written.append((id, incoming, data))
        found: dict[str, Stored | None] = {}
        try:
            inspections = inspect([(path, data) for _, path, data in written])
        except ChildFailed as error:
            return found, error
        for (id, incoming, _), each in zip(written, inspections, strict=True):
            name = file_name(id)
            if isinstance(each, Stored):
                found[id] = Stored(name, each.width, each.height)
                continue
            log.warning("image %s is left out: %s", id, each)
            found[id] = None
            try:
                self._files.remove_tree(incoming)
                self._files.write_atomically(self._folder / f"{name}{DAMAGED}", str(each).encode())
            except OSError as error:
                refused = refusal(error, f"note that image {id[:100]} is damaged")
        return found, refused

    def _name(self, ids: Sequence[str]) -> None:
        """Sync what came, and give it its names."""
        try:
            self._files.sync_everything()
            for id in ids:
                name = file_name(id)
                self._files.rename(self._folder / f"{name}{INCOMING}", self._folder / name)
            self._files.sync_folder(self._folder)
        except OSError as error:
            raise refusal(error, "store the pictures of the project") from error


def _size_of(path: Path) -> tuple[int, int] | None:
    """Width and height as displayed; None for what is no picture."""
    try:
        with path.open("rb") as file:
            data = file.read(HEADER_BYTES)
        try:
            header = read_header(data)
        except ImageUnreadable:  # a header that is longer than most
            header = read_header(path.read_bytes())
    except (OSError, ImageUnreadable, InputTooLarge):
        return None
    return header.width, header.height


async def _ended(fetching: asyncio.Task[None], under_way: _UnderWay, storing: asyncio.Task[None]) -> None:
    """Have what has come stored, once nothing comes any more. Raises what storing raises, else what fetching raises."""
    await asyncio.wait({storing, fetching}, return_when=asyncio.FIRST_COMPLETED)
    fetching.cancel()  # one of them has ended: nobody stores what would still come
    await asyncio.gather(fetching, return_exceptions=True)
    last = asyncio.create_task(under_way.coming.put(None))
    # What is full is emptied by nobody once storing has failed.
    await asyncio.wait({last, storing}, return_when=asyncio.FIRST_COMPLETED)
    last.cancel()
    await storing
    await fetching


async def _several(work: Callable[..., Awaitable[None]], items: Sequence[object]) -> None:
    """Do it for each item, `AT_ONCE` at a time. What one raises ends all, and is raised when they have ended."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    workers = [asyncio.create_task(worker()) for _ in range(min(AT_ONCE, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
