"""Pictures at the size of the network's input, decoded once and kept as bytes.

They lie in one file that all processes of this machine map into their memory, so that several graphics cards share one
copy, and the kernel may drop what it needs room for and read it back. What does not fit within the bound is decoded
each time it is looked at.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import images
from models.errors import ImageUnreadable, InputTooLarge
from models.files import refusal
from trainer_companion.dataset import Picture
from trainer_companion.team import Team

Pixels = NDArray[np.uint8]

SHARE_OF_MEMORY = 0.5
"""Of the memory that is available, for pictures."""

SHARE_OF_DISK = 0.5
"""Of the free disk, for the file."""

SECONDS_BETWEEN = 5.0
"""In which nothing is told; a node ends a training that is silent for long."""

GREY = 114
"""What stands in for a picture that cannot be decoded."""


class PictureStore:
    """Random access to pictures as uint8 RGB (height, width, 3). `bad`: those that could not be decoded.

    `kept` of them are in memory. Closing is letting go: the file has no name any more once every process has mapped it.
    """

    def __init__(self, pictures: Sequence[Picture], width: int, height: int, kept: Pixels) -> None:
        self._pictures = pictures
        self._width, self._height = width, height
        self._kept = kept
        self.kept = len(kept)
        self.bad: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Pixels:
        if index < self.kept:
            kept: Pixels = self._kept[index]
            return kept
        return decode(self._pictures[index], self._width, self._height)[0]


def decode(picture: Picture, width: int, height: int) -> tuple[Pixels, bool]:
    """The picture stretched to the input, as a device would see it, and whether it could be read; grey where not."""
    try:
        return images.prepare(picture.path.read_bytes(), width, height).pixels, True
    except (OSError, ImageUnreadable, InputTooLarge):
        return np.full((height, width, 3), GREY, np.uint8), False


def open_store(
    pictures: Sequence[Picture],
    width: int,
    height: int,
    path: Path,
    team: Team,
    *,
    bound: int | None = None,
    threads: int | None = None,
    tell: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> PictureStore:
    """Decode `pictures` into the new file `path`, each process of this machine a part of them. Blocks, for long.

    `threads`: of this process; as a rule its share of the cores. `tell` is told every few seconds about how many are done.

    `bound`: bytes, at most; without it as much as memory and disk allow. All processes must call this, with the same
    pictures. Raises `StorageRefused`, `NoRoom`.
    """
    each = width * height * 3
    room = bound if bound is not None else team.least(int(_room(path.parent)))
    count = min(len(pictures), room // each)
    if team.size > team.local_size:  # machines may see the same folder
        path = path.with_name(f"{platform.node()}.{path.name}")
    if team.local_rank == 0:
        _reserve(path, max(1, count * each))
    team.wait()
    shape = (count, height, width, 3)
    kept: Pixels = np.memmap(path, np.uint8, "r+", shape=shape) if count else np.empty(shape, np.uint8)

    def fill(index: int) -> int | None:
        if index >= count:
            readable = _is_whole(pictures[index])
        else:
            kept[index], readable = decode(pictures[index], width, height)
        return None if readable else index

    said_at = clock()
    bad: list[int] = []
    with ThreadPoolExecutor(threads or max(1, len(os.sched_getaffinity(0)) // team.local_size)) as pool:
        mine = range(team.local_rank, len(pictures), team.local_size)
        for done, index in enumerate(pool.map(fill, mine), 1):
            bad += [] if index is None else [index]
            if tell is not None and clock() - said_at >= SECONDS_BETWEEN:
                tell(min(done * team.local_size, len(pictures)))
                said_at = clock()
    store = PictureStore(pictures, width, height, kept)
    store.bad = frozenset(index for part in team.gather(bad) for index in part)
    if team.local_rank == 0:
        path.unlink(missing_ok=True)
    return store


def _reserve(path: Path, size: int) -> None:
    """A file whose bytes are really there: writing to a mapped file on a full disk would kill the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise refusal(error, "keep the decoded pictures") from error


def _is_whole(picture: Picture) -> bool:
    try:
        images.check_picture(picture.path.read_bytes())
    except (OSError, ImageUnreadable, InputTooLarge):
        return False
    return True


def _room(folder: Path) -> float:
    """Bytes that pictures may take on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    return min(SHARE_OF_MEMORY * available_memory(), SHARE_OF_DISK * shutil.disk_usage(folder).free)


def available_memory() -> float:
    """Bytes that could be used without swapping; 2 GiB where the kernel does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 2.0 * 1024**3
