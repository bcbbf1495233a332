"""What one page waits for: everything in its order, but of mouse moves only the newest.

A hand moves the mouse faster than answers may come. What is overtaken is answered at once with the last drawing, and the
way that the mouse took is kept: a stroke gets no corners cut.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from annotator_companion.tools.base import Point
from models.errors import Overloaded
from models.wire.training import AnnotationData

MOST_WAITING = 32
MOST_TRAIL = 4096
"""Places of the mouse that are remembered of moves that were overtaken; the oldest go."""

MOVE = "mouse_move"

OVERTAKING = frozenset({MOVE, "left_mouse_down", "right_mouse_down", "left_mouse_up", "right_mouse_up"})
"""What goes on from where the mouse is. Whatever else a page sends tells no tool where it has been."""


@dataclass
class Turn:
    """An input that waits for its answer (SVG), and where the mouse has been since the one before."""

    data: AnnotationData
    answer: asyncio.Future[str]
    trail: tuple[Point, ...] = ()


class Turns:
    """A queue of turns. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Turn] = deque()
        self.overtaken = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, data: AnnotationData, last_answer: str) -> asyncio.Future[str]:
        """Queue an input; its answer. Raises `Overloaded` where too many wait that cannot be left out.

        A move that waits before it is overtaken by it, and answered with `last_answer`.
        """
        turn = Turn(data, asyncio.get_running_loop().create_future())
        if self._waiting and _overtakes(data, self._waiting[-1].data):
            before = self._waiting.pop()
            if not data.event_type.endswith("_down"):  # how it came to the beginning of a line is no part of it
                place = (before.data.coordinate.x, before.data.coordinate.y)
                turn.trail = (*before.trail, place)[-MOST_TRAIL:]
            settle(before.answer, last_answer)
            self.overtaken += 1
        elif len(self._waiting) >= MOST_WAITING:
            raise Overloaded(f"{len(self._waiting)} inputs of this page wait already; the last ones are left out")
        self._waiting.append(turn)
        return turn.answer

    def take(self) -> Turn:
        """The next one."""
        return self._waiting.popleft()

    def clear(self, answer: str) -> None:
        """Answer all that wait, and forget them."""
        while self._waiting:
            settle(self._waiting.popleft().answer, answer)


def settle(future: asyncio.Future[str], answer: str) -> None:
    """Answer, unless whoever asked has gone."""
    if not future.done():
        future.set_result(answer)


def _overtakes(data: AnnotationData, before: AnnotationData) -> bool:
    """Whether the earlier input was a move on the way to the later one."""
    return (
        before.event_type == MOVE
        and data.event_type in OVERTAKING
        and before.image_uuid == data.image_uuid
        and before.context == data.context
        and before.category.id == data.category.id
    )
