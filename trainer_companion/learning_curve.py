"""How a training went so far, for people: bounded, and beside its checkpoint, so that who starts it again still knows it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from models.files import FILE_SYSTEM, FileSystem
from trainer_companion.progress import Progress

FILE = "curve.jsonl"
"""In the folder of the job: a line for each point. It is for people, so a power cut may cost its last lines."""

MOST_POINTS = 1000
MOST_LINES = 2 * MOST_POINTS
"""Of the file; then it is written anew, with the points alone."""

MOST_BYTES = 4 * 1024 * 1024


class LearningCurve:
    """Progress by the share of the whole. `path` None: in memory only.

    A training that goes on from a checkpoint comes to the same places once more: what it said of them before does not
    count any more. When there are too many points, half of them are left, evenly over the training.
    """

    def __init__(self, path: Path | None = None, files: FileSystem = FILE_SYSTEM) -> None:
        self._path = path
        self._files = files
        self._points: tuple[Progress, ...] = ()
        self._lines = 0

    def __len__(self) -> int:
        return len(self._points)

    @property
    def points(self) -> Sequence[Progress]:
        """In the order of their shares."""
        return self._points

    def add(self, point: Progress) -> None:
        """Note where the training is now. In memory; see `keep`."""
        before = self._points
        while before and before[-1].share > point.share:
            before = before[:-1]
        self._points = (*before, point)
        if len(self._points) > MOST_POINTS:
            self._points = thinned(self._points, MOST_POINTS // 2)

    def keep(self, point: Progress) -> None:
        """Write down what was added. Blocks. A disk that refuses costs people the curve after a restart, and nothing else."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            if self._lines >= MOST_LINES:
                self._write_anew()
                return
            with self._path.open("a") as file:
                file.write(f"{point.model_dump_json()}\n")
            self._lines += 1

    def load(self) -> None:
        """Take up what was kept. Blocks. Lines that cannot be understood are passed over."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                data = file.read(MOST_BYTES)
        except OSError:
            return  # there is none yet
        for line in data.splitlines():
            with contextlib.suppress(ValidationError):
                self.add(Progress.model_validate_json(line))
        # Whoever was killed may have left half a line behind, to which the next one must not be added.
        with contextlib.suppress(OSError):
            self._write_anew()

    def _write_anew(self) -> None:
        assert self._path is not None
        lines = [f"{point.model_dump_json()}\n" for point in self._points]
        self._files.write_atomically(self._path, "".join(lines).encode())
        self._lines = len(lines)


def thinned(points: Sequence[Progress], most: int) -> tuple[Progress, ...]:
    """Up to `most` of them, evenly over the shares: the first, and the last of each stretch with what those before it knew."""
    begin, end = points[0].share, points[-1].share
    kept = list(points[:1])
    places = [-1]
    for point in points[1:]:
        place = min(most - 2, int((point.share - begin) / (end - begin) * (most - 1))) if end > begin else 0
        if place == places[-1]:
            kept[-1] = _merged(kept[-1], point)
        else:
            kept.append(point)
            places.append(place)
    return tuple(kept)


def _merged(earlier: Progress, later: Progress) -> Progress:
    unknown = [name for name, value in later if value is None]
    return later.model_copy(update={name: getattr(earlier, name) for name in unknown})
