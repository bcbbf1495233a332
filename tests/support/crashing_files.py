"""A disk that loses power at any step, and afterwards holds what was synced: the proof behind `models.files`.

It works on the real disk, so that the code under test reads what it wrote, and keeps a second picture beside it: for
every file the bytes that were synced, for every folder the names that were synced. `disk_after_power_loss` draws that
picture into another folder. What was not synced is lost there; or, given a dice, each unsynced name and the tail of
each unsynced file is there or not as the dice falls, because a disk may also have written what nobody asked it to.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from models.files import FileSystem


class PowerCut(BaseException):
    """Nothing runs after it. Not an Exception, for nobody can handle it."""


@dataclass(eq=False)
class _File:
    live: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(eq=False)
class _Folder:
    live: dict[str, _File | _Folder] = field(default_factory=dict)
    synced: dict[str, _File | _Folder] = field(default_factory=dict)


class _WatchedFile(io.FileIO):
    """An open file whose every write is a step of its own."""

    def __init__(self, disk: CrashingFileSystem, node: _File, descriptor: int) -> None:
        super().__init__(descriptor, "wb")
        self._disk, self.node = disk, node

    def write(self, data: bytes) -> int:  # type: ignore[override]  # narrower than any buffer: all that products write
        self._disk.step()
        self.node.live += data
        return super().write(data)


class CrashingFileSystem(FileSystem):
    """The disk below `root`, what is there already being synced. Power fails *before* step number `cut_at` (from 0)."""

    def __init__(self, root: Path, cut_at: int | None = None) -> None:
        self.root = root
        self.cut_at = cut_at
        self.steps = 0
        self._tree = _read(root)

    def step(self) -> None:
        """Count one step. Once the power is off, it stays off: cleaning up after the cut cannot touch the disk."""
        if self.cut_at is not None and self.steps >= self.cut_at:
            raise PowerCut(f"before step {self.cut_at}")
        self.steps += 1

    def create_exclusive(self, path: Path) -> BinaryIO:
        self.step()
        node = _File()
        file = _WatchedFile(self, node, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        self._folder(path.parent).live[path.name] = node
        return file

    def reopen(self, path: Path, size: int) -> BinaryIO:
        self.step()
        node = self._folder(path.parent).live[path.name]
        assert isinstance(node, _File), f"{path} is no file"
        del node.live[size:]
        with super().reopen(path, size) as file:
            return _WatchedFile(self, node, os.dup(file.fileno()))

    def sync_file(self, file: BinaryIO) -> None:
        self.step()
        assert isinstance(file, _WatchedFile), "a file that did not come from create_exclusive"
        super().sync_file(file)
        file.node.synced = bytes(file.node.live)

    def sync_folder(self, folder: Path) -> None:
        self.step()
        super().sync_folder(folder)
        if folder.is_relative_to(self.root):
            node = self._folder(folder)
            node.synced = dict(node.live)

    def sync_everything(self) -> None:
        self.step()
        _sync(self._tree)

    def make_folder(self, folder: Path) -> None:
        self.step()
        super().make_folder(folder)
        self._folder(folder.parent).live[folder.name] = _Folder()

    def rename(self, source: Path, target: Path) -> None:
        self.step()
        super().rename(source, target)
        self._folder(target.parent).live[target.name] = self._folder(source.parent).live.pop(source.name)

    def link(self, source: Path, target: Path) -> None:
        self.step()
        super().link(source, target)
        self._folder(target.parent).live[target.name] = self._folder(source.parent).live[source.name]

    def unlink(self, path: Path) -> None:
        self.step()
        super().unlink(path)
        del self._folder(path.parent).live[path.name]

    def remove_folder(self, folder: Path) -> None:
        self.step()
        super().remove_folder(folder)
        del self._folder(folder.parent).live[folder.name]

    def disk_after_power_loss(self, target: Path, dice: random.Random | None = None) -> Path:
        """Write into the new folder `target` what the disk holds when the power comes back."""
        _draw(self._tree, target, dice)
        return target

    def bypassed(self) -> list[str]:
        """Paths that were made, removed or changed without this seam. Empty is how it should be."""
        seen, real = _flat(self._tree), _flat(_read(self.root))
        return sorted(path for path in seen.keys() | real.keys() if seen.get(path, "-") != real.get(path, "-"))

    def _folder(self, folder: Path) -> _Folder:
        node = self._tree
        for name in folder.relative_to(self.root).parts:
            child = node.live[name]
            assert isinstance(child, _Folder), f"{folder} is no folder"
            node = child
        return node


def disks_after_every_cut(
    tmp_path: Path, before: Callable[[Path], object], act: Callable[[FileSystem, Path], object]
) -> tuple[list[Path], list[Path]]:
    """Run `act` with the power failing before each of its steps, and at last after its end; the disks that remain.

    `before` fills the new folder that stands for the disk; `act` is given the file system and that folder. Each run
    leaves the disk as a killed process leaves it, the one that lost all that was not synced, and four on which chance
    kept a part of it. Returns those of the runs that were cut short and those of the run that came to its end. Fails if
    anything went past the seam.
    """
    cut_short: list[Path] = []
    for cut in range(1000):
        root = tmp_path / f"cut-{cut}"
        root.mkdir()
        before(root)
        files = CrashingFileSystem(root, cut_at=cut)
        try:
            act(files, root)
            finished = True
        except PowerCut:
            finished = False
        assert files.bypassed() == []
        disks = [root, files.disk_after_power_loss(tmp_path / f"cut-{cut}-synced")]
        for seed in range(4):
            disks.append(files.disk_after_power_loss(tmp_path / f"cut-{cut}-chance-{seed}", random.Random(seed)))
        if finished:
            return cut_short, disks
        cut_short += disks
    raise AssertionError("never comes to an end")


def _read(folder: Path) -> _Folder:
    live: dict[str, _File | _Folder] = {}
    for path in folder.iterdir():
        if path.is_dir():
            live[path.name] = _read(path)
        else:
            data = path.read_bytes()
            live[path.name] = _File(bytearray(data), data)
    return _Folder(live, dict(live))


def _sync(folder: _Folder) -> None:
    folder.synced = dict(folder.live)
    for node in folder.live.values():
        if isinstance(node, _Folder):
            _sync(node)
        else:
            node.synced = bytes(node.live)


def _draw(folder: _Folder, target: Path, dice: random.Random | None) -> None:
    target.mkdir()
    for name in sorted(folder.live.keys() | folder.synced.keys()):
        synced, live = folder.synced.get(name), folder.live.get(name)
        node = synced if dice is None else dice.choice([synced, live])
        if isinstance(node, _Folder):
            _draw(node, target / name, dice)
        elif node is not None:
            data = node.synced
            if dice is not None and bytes(node.live) != data:
                data = dice.choice([data, bytes(node.live[: dice.randint(0, len(node.live))])])
            (target / name).write_bytes(data)


def _flat(folder: _Folder, above: str = "") -> dict[str, bytes | None]:
    paths: dict[str, bytes | None] = {}
    for name, node in folder.live.items():
        if isinstance(node, _Folder):
            paths[above + name] = None
            paths.update(_flat(node, f"{above}{name}/"))
        else:
            paths[above + name] = bytes(node.live)
    return paths
