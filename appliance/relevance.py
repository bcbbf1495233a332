"""Which pictures are worth a person's look: camera history and detections in, reasons to upload out.

The rules are those of autoupload `filtered` of the protocol. A box or point is *new* to its camera unless something
similar was seen within the last hour: a box of the same category with an intersection over union of at least 0.5, or a
point of the same category less than 10 pixels away. New ones are remembered whatever their confidence is, and are a
reason to upload (`uncertain`) where the model was unsure of them. Whatever is seen again is remembered for another
hour. An uncertain classification is a reason every time, and so is any segmentation.

Nothing here touches a disk, a network or a clock of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.wire.detections import BoxDetection, Detections, PointDetection

UNCERTAIN = "uncertain"
SEGMENTATION = "segmentation_detection"
UNEXPECTED_COUNT = "unexpected_observations_count"

REMEMBERED_SECONDS = 3600.0
"""An observation is forgotten when it was last seen longer ago than this."""

NEAR_PIXELS = 10.0
"""Points closer than this are the same thing."""

UNEXPECTED_DETECTIONS = 80
"""That many detections in one picture are suspicious in themselves."""

MAX_CAMERA_ID_LENGTH = 256
"""Longer ids are told apart by their beginning: whoever sends megabytes as a camera id shall not fill the memory."""

FEW_PAIRS = 12
"""Up to so many pairs are compared one by one; measured, the costs meet at about 20."""

COLUMNS_AT_ONCE = 64
"""Detections compared in one go, so that a picture full of things needs no huge matrix."""

Geometry = NDArray[np.float64]
"""(5, N): left, top, right, bottom, area of N boxes; or (2, N): x, y of N points. Pixels."""

Located = TypeVar("Located", BoxDetection, PointDetection)


class RelevanceFilter:
    """Remembers per camera what was seen lately, and says what is new and uncertain.

    `min_uncertain` and `max_uncertain` are confidences (0..1, both included) between which the model counts as unsure.
    `clock` returns seconds and never goes back (`time.monotonic`). Cameras beyond `max_cameras` push out the one that
    was silent longest; observations of one camera beyond `max_observations` push out those not seen for longest.

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
    ) -> None:
        self._min_uncertain = min_uncertain
        self._max_uncertain = max_uncertain
        self._clock = clock
        self._max_cameras = max_cameras
        self._max_observations = max_observations
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
        now = self._clock()
        new = (
            *history.observe(_BOXES, detections.box_detections, now),
            *history.observe(_POINTS, detections.point_detections, now),
            *detections.classification_detections,
        )
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
        key = camera_id if camera_id is None else camera_id[:MAX_CAMERA_ID_LENGTH]
        history = self._cameras.setdefault(key, _CameraHistory(self._max_observations))
        self._cameras.move_to_end(key)
        if len(self._cameras) > self._max_cameras:
            self._cameras.popitem(last=False)
        return history


def box_geometry(boxes: Sequence[BoxDetection]) -> Geometry:
    """Boxes as (5, N): left, top, right, bottom, area, in pixels.

    The area of a box without extent is infinite, so that it has nothing in common with any box, itself included.
    """
    left, top, width, height = np.array([(box.x, box.y, box.width, box.height) for box in boxes], dtype=np.float64).T
    area = np.where((width > 0) & (height > 0), width * height, np.inf)
    return np.stack([left, top, left + width, top + height, area])


def similar_boxes(boxes: Geometry, others: Geometry) -> NDArray[np.bool_]:
    """(N, M): whether the intersection over union of box n and other m is at least 0.5.

    I / (A + B - I) >= 1/2 is the same as 3 I >= A + B, which needs no division and is exact for whole pixels. Few pairs
    overlap at all, so only those are computed: one matrix of bytes instead of several of floats.
    """
    left, top, right, bottom, _ = boxes[:, :, np.newaxis]
    other_left, other_top, other_right, other_bottom, _ = others[:, np.newaxis, :]
    similar: NDArray[np.bool_] = left < other_right
    similar &= other_left < right
    similar &= top < other_bottom
    similar &= other_top < bottom
    first, second = np.nonzero(similar)
    left, top, right, bottom, area = boxes[:, first]
    other_left, other_top, other_right, other_bottom, other_area = others[:, second]
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    similar[first, second] = 3.0 * width * height >= area + other_area
    return similar


def point_geometry(points: Sequence[PointDetection]) -> Geometry:
    """Points as (2, N): x, y, in pixels."""
    geometry: Geometry = np.array([(point.x, point.y) for point in points], dtype=np.float64).T
    return geometry


def similar_points(points: Geometry, others: Geometry) -> NDArray[np.bool_]:
    """(N, M): whether point n and other m are less than 10 pixels apart."""
    x, y = points[:, :, np.newaxis]
    other_x, other_y = others[:, np.newaxis, :]
    with np.errstate(over="ignore"):  # absurdly distant points are infinitely far apart, which is right
        similar: NDArray[np.bool_] = np.sqrt((x - other_x) ** 2 + (y - other_y) ** 2) < NEAR_PIXELS
    return similar


@dataclass(frozen=True)
class _Kind(Generic[Located]):
    """A kind of detection that has a place in the picture, and how two of them are compared."""

    name: str
    geometry: Callable[[Sequence[Located]], Geometry]
    similar: Callable[[Geometry, Geometry], NDArray[np.bool_]]
    alike: Callable[[Sequence[float], Sequence[float]], bool]


def alike_boxes(box: Sequence[float], other: Sequence[float]) -> bool:
    """`similar_boxes` for one pair: two columns of `box_geometry`."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return width > 0 and height > 0 and 3.0 * width * height >= box[4] + other[4]


def alike_points(point: Sequence[float], other: Sequence[float]) -> bool:
    """`similar_points` for one pair: two columns of `point_geometry`."""
    x, y = point[0] - other[0], point[1] - other[1]
    return math.sqrt(x * x + y * y) < NEAR_PIXELS


_BOXES = _Kind("box", box_geometry, similar_boxes, alike_boxes)
_POINTS = _Kind("point", point_geometry, similar_points, alike_points)


class _Observations:
    """What one camera remembers of one category: a column of geometry and the time when it was last seen, for each."""

    def __init__(self, kind: _Kind[Any], rows: int) -> None:
        self._similar = kind.similar
        self._alike = kind.alike
        self._geometry: Geometry = np.empty((rows, 0))
        self.last_seen: NDArray[np.float64] = np.empty(0)

    def observe(self, geometry: Geometry, now: float) -> list[int]:
        """Refresh what is seen again, remember what is new, and return the columns of `geometry` that are new.

        Columns are taken in their order: one that resembles an earlier new one of the same picture is not new.
        """
        self.keep(self.last_seen >= now - REMEMBERED_SECONDS)
        count = len(self.last_seen)
        columns = geometry.shape[1]
        new = self._few(geometry, now) if columns * (count + columns) <= FEW_PAIRS else self._many(geometry, now)
        if new:
            self._geometry = np.concatenate([self._geometry, geometry[:, new]], axis=1)
            self.last_seen = np.concatenate([self.last_seen, np.full(len(new), now)])
        return new

    def _few(self, geometry: Geometry, now: float) -> list[int]:
        """A scene with a few things, as most are: comparing them one by one is cheaper than calling numpy."""
        remembered: list[list[float]] = self._geometry.T.tolist()
        new: list[list[float]] = []
        columns = []
        for column, detection in enumerate(geometry.T.tolist()):
            again = [index for index, other in enumerate(remembered) if self._alike(detection, other)]
            if again:
                self.last_seen[again] = now
            elif not any(self._alike(detection, other) for other in new):
                new.append(detection)
                columns.append(column)
        return columns

    def _many(self, geometry: Geometry, now: float) -> list[int]:
        count = len(self.last_seen)
        similar = self._similar(geometry, np.concatenate([self._geometry, geometry], axis=1))
        self.last_seen[np.any(similar[:, :count], axis=0)] = now
        known: NDArray[np.bool_] = np.any(similar[:, :count], axis=1)
        new = []
        for column in np.flatnonzero(~known).tolist():
            if not known[column]:
                new.append(column)
                known |= similar[:, count + column]
        return new

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget all the others."""
        if not which.all():
            self._geometry = self._geometry[:, which]
            self.last_seen = self.last_seen[which]


class _CameraHistory:
    """What one camera has seen within the last hour."""

    def __init__(self, max_observations: int) -> None:
        self._max_observations = max_observations
        self._observations: dict[tuple[str, str], _Observations] = {}

    def __len__(self) -> int:
        return sum(len(remembered.last_seen) for remembered in self._observations.values())

    def observe(self, kind: _Kind[Located], detections: Sequence[Located], now: float) -> list[Located]:
        """Remember the detections of one picture; return those that are new to this camera."""
        if not detections:
            return []
        geometry = kind.geometry(detections)
        by_category: dict[str, list[int]] = {}
        for index, detection in enumerate(detections):
            by_category.setdefault(detection.category_name, []).append(index)
        new = []
        for category, indices in by_category.items():
            for start in range(0, len(indices), COLUMNS_AT_ONCE):
                some = indices[start : start + COLUMNS_AT_ONCE]
                remembered = self._observations.get((kind.name, category))
                if remembered is None:
                    remembered = _Observations(kind, len(geometry))
                    self._observations[kind.name, category] = remembered
                new += [detections[some[column]] for column in remembered.observe(geometry[:, some], now)]
                if len(remembered.last_seen) > self._max_observations:
                    self._forget_beyond_bound()
        if new:
            self._forget_beyond_bound()
        return new

    def _forget_beyond_bound(self) -> None:
        times = np.concatenate([remembered.last_seen for remembered in self._observations.values()])
        excess = len(times) - self._max_observations
        if excess <= 0:
            return
        kept = np.ones(len(times), dtype=np.bool_)
        kept[np.argsort(times, kind="stable")[:excess]] = False
        start = 0
        for key, remembered in list(self._observations.items()):
            end = start + len(remembered.last_seen)
            remembered.keep(kept[start:end])
            if not len(remembered.last_seen):
                del self._observations[key]
            start = end
