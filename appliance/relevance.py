"""Which pictures are worth a person's look: camera history and detections in, reasons to upload out.

The rules are those of autoupload `filtered` of the protocol. A box or point is *new* to its camera unless something
similar was seen within the last hour: a box of the same category with an intersection over union of at least 0.5, or a
point of the same category less than 10 pixels away. New ones are remembered whatever their confidence is, and are a
reason to upload (`uncertain`) where the model was unsure of them. Whatever is seen again is remembered for another
hour. An uncertain classification is a reason every time, and so is any segmentation.

Nothing here touches a disk, a network or a clock of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from appliance.similarity import BOXES, POINTS, Geometry, Indices, Kind, Located
from models.wire.detections import BoxDetection, Detections, PointDetection

UNCERTAIN = "uncertain"
SEGMENTATION = "segmentation_detection"
UNEXPECTED_COUNT = "unexpected_observations_count"

REMEMBERED_SECONDS = 3600.0
"""An observation is forgotten when it was last seen longer ago than this."""

UNEXPECTED_DETECTIONS = 80
"""That many detections in one picture are suspicious in themselves."""

MAX_CAMERA_ID_LENGTH = 256
"""Longer ids are told apart by their beginning: whoever sends megabytes as a camera id shall not fill the memory."""

COLUMNS_AT_ONCE = 256
"""Detections compared in one go, so that a picture full of things needs no huge arrays."""


class RelevanceFilter:
    """Remembers per camera what was seen lately, and says what is new and uncertain.

    `min_uncertain` and `max_uncertain` are confidences (0..1, both included) between which the model counts as unsure.
    `clock` returns seconds and never goes back (`time.monotonic`). Cameras beyond `max_cameras` push out the one that
    was silent longest, and so do observations of all cameras together beyond `max_in_all`; observations of one camera
    beyond `max_observations` push out those not seen for longest.

    Not safe for use by several threads at once.
    """

    def __init__(
        self,
        min_uncertain: float,
        max_uncertain: float,
        clock: Callable[[], float],
        *,
        max_cameras: int = 64,
        max_observations: int = 1000,
        max_in_all: int = 200_000,
    ) -> None:
        self._min_uncertain = min_uncertain
        self._max_uncertain = max_uncertain
        self._clock = clock
        self._max_cameras = max_cameras
        self._max_observations = max_observations
        self._max_in_all = max_in_all
        self._in_all = 0
        self._cameras: OrderedDict[str | None, _CameraHistory] = OrderedDict()

    def set_thresholds(self, min_uncertain: float, max_uncertain: float) -> None:
        """Count other confidences as unsure from now on; what is remembered stays."""
        self._min_uncertain, self._max_uncertain = min_uncertain, max_uncertain

    def reasons(self, camera_id: str | None, detections: Detections) -> list[str]:
        """Reasons to upload the picture that `detections` were found in, sorted; empty where there is none.

        The detections must include those down to `min_uncertain`, also where the caller hides them from others. All
        pictures without a camera id share one history.
        """
        history = self._history(camera_id)
        now, before = self._clock(), len(history)
        history.forget(now - REMEMBERED_SECONDS)
        new = (
            *history.boxes(detections.box_detections, now),
            *history.points(detections.point_detections, now),
            *detections.classification_detections,
        )
        self._in_all += len(history) - before
        self._forget_cameras()
        reasons = []
        if any(self._min_uncertain <= detection.confidence <= self._max_uncertain for detection in new):
            reasons.append(UNCERTAIN)
        if detections.segmentation_detections:
            reasons.append(SEGMENTATION)
        if len(detections) >= UNEXPECTED_DETECTIONS:
            reasons.append(UNEXPECTED_COUNT)
        return sorted(reasons)

    def remembered(self) -> dict[str | None, int]:
        """How many observations each camera has in memory, the camera that was silent longest first."""
        return {camera_id: len(history) for camera_id, history in self._cameras.items()}

    def _history(self, camera_id: str | None) -> _CameraHistory:
        key = camera_key(camera_id)
        history = self._cameras.get(key)
        if history is None:
            history = self._cameras[key] = _CameraHistory(self._max_observations)
        self._cameras.move_to_end(key)
        return history

    def _forget_cameras(self) -> None:
        """All but the latest, as far as there are too many, or too much is remembered of them."""
        while len(self._cameras) > 1 and (len(self._cameras) > self._max_cameras or self._in_all > self._max_in_all):
            _, forgotten = self._cameras.popitem(last=False)
            self._in_all -= len(forgotten)


def camera_key(camera_id: str | None) -> str | None:
    """What a camera is remembered by."""
    return camera_id if camera_id is None else camera_id[:MAX_CAMERA_ID_LENGTH]


class _Observations(Generic[Located]):
    """What one camera remembers of one kind: for each its place, its category as a number, when it was last seen."""

    def __init__(self, kind: Kind[Located]) -> None:
        self._kind: Kind[Located] = kind
        self._geometry: Geometry = np.empty((kind.rows, 0))
        self.categories: NDArray[np.float64] = np.empty(0)
        self.last_seen: NDArray[np.float64] = np.empty(0)

    def __len__(self) -> int:
        return len(self.last_seen)

    def observe(self, detections: Sequence[Located], categories: NDArray[np.float64], now: float) -> list[Located]:
        """Refresh what is seen again, remember what is new, and return that.

        Detections are taken in their order: one that resembles an earlier new one of the same picture is not new.
        """
        geometry = self._kind.geometry(detections)
        count = len(self)
        places = np.concatenate([self._geometry, geometry], axis=1)
        detected, other = self._kind.pairs(geometry, categories, places, np.concatenate([self.categories, categories]))
        remembered = other < count
        self.last_seen[other[remembered]] = now
        known = np.zeros(len(detections), dtype=np.bool_)
        known[detected[remembered]] = True
        self._mark_repetitions(known, detected[~remembered], other[~remembered] - count)
        new = np.flatnonzero(~known)
        if len(new):
            self._geometry = np.concatenate([self._geometry, geometry[:, new]], axis=1)
            self.categories = np.concatenate([self.categories, categories[new]])
            self.last_seen = np.concatenate([self.last_seen, np.full(len(new), now)])
        return [detections[index] for index in new.tolist()]

    def _mark_repetitions(self, known: NDArray[np.bool_], one: Indices, other: Indices) -> None:
        later = one < other
        for earlier, repetition in zip(one[later].tolist(), other[later].tolist(), strict=True):
            if not known[earlier]:
                known[repetition] = True

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget all the others."""
        if not which.all():
            self._geometry = self._geometry[:, which]
            self.categories = self.categories[which]
            self.last_seen = self.last_seen[which]


class _CameraHistory:
    """What one camera has seen within the last hour."""

    def __init__(self, max_observations: int) -> None:
        self._max_observations = max_observations
        self._boxes = _Observations(BOXES)
        self._points = _Observations(POINTS)
        self._categories: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._boxes) + len(self._points)

    def forget(self, before: float) -> None:
        """Forget what was last seen before that time."""
        for observations in (self._boxes, self._points):
            observations.keep(observations.last_seen >= before)

    def boxes(self, detections: Sequence[BoxDetection], now: float) -> list[BoxDetection]:
        """Remember the boxes of one picture; return those that are new to this camera."""
        return self._observe(self._boxes, detections, now)

    def points(self, detections: Sequence[PointDetection], now: float) -> list[PointDetection]:
        """Remember the points of one picture; return those that are new to this camera."""
        return self._observe(self._points, detections, now)

    def _observe(
        self, observations: _Observations[Located], detections: Sequence[Located], now: float
    ) -> list[Located]:
        new: list[Located] = []
        for start in range(0, len(detections), COLUMNS_AT_ONCE):
            some = detections[start : start + COLUMNS_AT_ONCE]
            new += observations.observe(some, self._numbers(some), now)
            self._forget_beyond_bound()
        return new

    def _numbers(self, detections: Sequence[Located]) -> NDArray[np.float64]:
        """The category of each detection as a number."""
        if len(self._categories) > 2 * self._max_observations:  # more names than things: models came and went
            self._renumber()
        numbers = self._categories
        return np.array([numbers.setdefault(each.category_name, len(numbers)) for each in detections], dtype=np.float64)

    def _renumber(self) -> None:
        used = np.unique(np.concatenate([self._boxes.categories, self._points.categories]))
        names = {number: name for name, number in self._categories.items()}
        self._categories = {names[number]: index for index, number in enumerate(used.tolist())}
        for observations in (self._boxes, self._points):
            observations.categories = np.searchsorted(used, observations.categories).astype(np.float64)

    def _forget_beyond_bound(self) -> None:
        times = np.concatenate([self._boxes.last_seen, self._points.last_seen])
        excess = len(times) - self._max_observations
        if excess <= 0:
            return
        kept = np.ones(len(times), dtype=np.bool_)
        kept[np.argsort(times, kind="stable")[:excess]] = False
        boxes = len(self._boxes)
        self._boxes.keep(kept[:boxes])
        self._points.keep(kept[boxes:])
