"""How many pictures the filter may pick by itself: of each camera in an hour, and of all while the seed model serves.

A camera that looks at something the model never understands would else fill the outbox and the Loop with one scene. What
somebody asks for (autoupload `all`, an upload) is on no budget. Nothing here has a clock of its own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Literal, get_args

from appliance.relevance import camera_key

HOUR = 3600.0
"""Seconds that a pick counts for."""

SEED_PICKS_PER_HOUR = 20
"""The seed model is unsure of much that nobody will ever train: only so many of its picks are kept, of all cameras."""

OverBudget = Literal["camera_budget", "seed_model_budget"]

OVER_BUDGET: tuple[OverBudget, ...] = get_args(OverBudget)

_Camera = str | tuple[()] | None
_OTHERS: _Camera = ()


class PickBudgets:
    """Budgets that slide: no hour has more picks than they allow, wherever it begins.

    `per_camera` is for each camera; 0 allows none. All pictures without a camera id share a budget, and so do all
    cameras beyond the first `max_cameras` of an hour: inventing ids gains nothing, and memory stays bounded by the picks
    that were allowed. `clock` returns seconds and never goes back (`time.monotonic`).

    Not safe for use by several threads at once.
    """

    def __init__(self, per_camera: int, clock: Callable[[], float], *, max_cameras: int = 1000) -> None:
        self._per_camera = per_camera
        self._clock = clock
        self._max_cameras = max_cameras
        self._picks: deque[tuple[float, _Camera, bool]] = deque()
        self._of_camera: Counter[_Camera] = Counter()
        self._of_seed = 0

    def set_per_camera(self, per_camera: int) -> None:
        """Allow another number from now on; the picks of the last hour count."""
        self._per_camera = per_camera

    def spend(self, camera_id: str | None, *, seed: bool) -> OverBudget | None:
        """Count one pick; or, where a budget is used up, count nothing and say which. `seed`: the seed model picked it."""
        now = self._clock()
        self._forget(now - HOUR)
        camera: _Camera = camera_key(camera_id)
        if camera not in self._of_camera and len(self._of_camera) >= self._max_cameras:
            camera = _OTHERS
        if seed and self._of_seed >= SEED_PICKS_PER_HOUR:
            return "seed_model_budget"
        if self._of_camera[camera] >= self._per_camera:
            return "camera_budget"
        self._picks.append((now, camera, seed))
        self._of_camera[camera] += 1
        self._of_seed += seed
        return None

    def __len__(self) -> int:
        """Picks that count now."""
        return len(self._picks)

    def _forget(self, until: float) -> None:
        while self._picks and self._picks[0][0] <= until:
            _, camera, seed = self._picks.popleft()
            self._of_seed -= seed
            self._of_camera[camera] -= 1
            if not self._of_camera[camera]:
                del self._of_camera[camera]
