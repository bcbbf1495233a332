"""The disk's side of a download: the file, its note, its hash. Blocks; everything here runs in a thread.

    TO            what has arrived so far; complete once the download returned
    TO.part-of    what it is a part of (JSON): there while it is incomplete

Of a partial file only what was synced counts, because after a power cut the rest may be anything. So the bytes are
synced every now and then, and after that their number is written down.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InputTooLarge, LoopUnreachable, StorageRefused
from models.files import FileSystem, refusal

_BLOCK = 1024 * 1024
_LONGEST_NOTE = 16 * 1024

Progress = Callable[[int, "int | None"], None]


class Part(BaseModel):
    """What a partial file is a part of, and how many of its bytes are known to be on the disk."""

    model_config = ConfigDict(frozen=True)

    url: str
    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None
    synced: int = Field(default=0, ge=0)

    @property
    def proof(self) -> str | None:
        """What to send as `If-Range`; None if the other side gave nothing that proves that a file is the same."""
        return self.etag or self.last_modified

    def is_continued_by(self, other: Part) -> bool:
        """Whether an answer tells of the very file that this is a part of."""
        same = other.etag == self.etag if self.etag else other.last_modified == self.last_modified
        return same and other.proof is not None and self.size == other.size


class Receiver:
    """Writes what comes from `url` into the file `to`. Raises `InputTooLarge` and `StorageRefused`; then nothing stays."""

    def __init__(self, url: str, to: Path, max_bytes: int, files: FileSystem) -> None:
        self.url = url
        self._to = to
        self._note = to.with_name(f"{to.name}.part-of")
        self._max_bytes = max_bytes
        self._files = files
        self._file: BinaryIO | None = None
        self._part = Part(url=url)
        self._hash = hashlib.sha256()
        self._interrupted = False
        self.received = 0

    @property
    def size(self) -> int | None:
        """Bytes of the whole file, as far as the sender said."""
        return self._part.size

    def find_part(self) -> Part | None:
        """The part that lies there, if it is one of this very file and can be gone on with."""
        try:
            with self._note.open("rb") as file:
                part = Part.model_validate_json(file.read(_LONGEST_NOTE))
            there = self._to.lstat()
        except (OSError, ValidationError):
            return None
        synced = part.synced
        if part.size is not None and synced >= part.size:
            synced = part.size - 1  # nobody can be asked for no bytes at all: the last one is fetched again
        if (
            part.url != self.url
            or part.proof is None
            or not stat.S_ISREG(there.st_mode)
            or not 0 < synced <= min(there.st_size, self._max_bytes)
        ):
            return None
        return part.model_copy(update={"synced": synced})

    def begin(self, part: Part) -> None:
        """Start with an empty file."""
        with self._refusals():
            self._part = part
            self._check(part.size or 0)
            self._files.write_atomically(self._note, part.model_dump_json().encode())
            self._files.remove_tree(self._to)
            self._file = self._files.create_exclusive(self._to)

    def go_on(self, part: Part) -> None:
        """Keep the bytes that are known to be on the disk, and hash them."""
        with self._refusals():
            self._part = part
            self._check(part.size or 0)
            self._file = self._files.reopen(self._to, part.synced)
            with self._to.open("rb") as file:
                while not self._interrupted and (block := file.read(_BLOCK)):
                    self._hash.update(block)
                    self.received += len(block)
            if not self._interrupted and self.received != part.synced:
                raise StorageRefused(f"{self._to} changed while it was downloaded; nobody else may write there")

    def interrupt(self) -> None:
        """End `go_on` early; from another thread."""
        self._interrupted = True

    def write(self, block: bytes, sync: bool) -> None:
        """Append, and have it on the disk on return if that is wished."""
        assert self._file is not None
        with self._refusals():
            self._check(self.received + len(block))
            self._file.write(block)
            self._hash.update(block)
            self.received += len(block)
            if sync:
                self._sync()

    def finish(self) -> str:
        """All has come: check the length, sync, remove the note. Returns sha256 in hex. Raises `LoopUnreachable`."""
        assert self._file is not None
        size = self.size
        if size is not None and self.received > size:
            self.discard()
            raise LoopUnreachable(f"more bytes came from {self.url} than the {size} that were announced")
        if size is not None and self.received < size:
            raise LoopUnreachable(f"the download from {self.url} broke off after {self.received} of {size} bytes")
        with self._refusals():
            self._files.sync_file(self._file)
            self._close()
            self._files.unlink(self._note)
            self._files.sync_folder(self._to.parent)
        return self._hash.hexdigest()

    def stop(self, rest: bytes = b"") -> None:
        """Keep what has come for another time, with the `rest` that is not written yet. Nothing to do after `finish`.

        Raises nothing: what ended the download is what counts.
        """
        if self._file is None:
            return
        try:
            with contextlib.suppress(InputTooLarge, StorageRefused):  # then nothing is kept
                if rest:
                    self.write(rest, False)
            with contextlib.suppress(OSError):  # then less of it will be trusted
                if self._file is not None:
                    self._sync()
        finally:
            self._close()

    def discard(self) -> None:
        """Remove the file and its note."""
        self._close()
        for path in (self._to, self._note):
            with contextlib.suppress(OSError):  # without the note, or with one that fits nothing, it is never trusted
                self._files.remove_tree(path)

    def _sync(self) -> None:
        assert self._file is not None
        if self.received <= self._part.synced:
            return  # nothing new
        self._files.sync_file(self._file)
        self._part = self._part.model_copy(update={"synced": self.received})
        # This syncs the folder, too, and so the names of both files.
        self._files.write_atomically(self._note, self._part.model_dump_json().encode())

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise InputTooLarge(
                f"{self.url} is larger than {self._max_bytes / 1024 / 1024:.0f} MiB, the most that is taken"
            )

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what could not be written out was not synced, and is not trusted
                file.close()

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the disk refuses as `StorageRefused`; after any refusal nothing stays, for that may be what is in the way."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise refusal(error, f"download {self._to.name}") from error
        except (InputTooLarge, StorageRefused):
            self.discard()
            raise


def safe_file_name(content_disposition: str, otherwise: str) -> str:
    """The file name in a `Content-Disposition` header, as far as it is harmless as a name in any folder."""
    match = re.search(r"""filename\s*=\s*(?:"([^"]*)"|([^;]*))""", content_disposition, re.IGNORECASE)
    said = "" if match is None else (match[1] if match[1] is not None else match[2])
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", re.split(r"[/\\]", said)[-1].strip())[-100:].strip("._")
    return name or otherwise
