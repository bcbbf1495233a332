"""What one page has drawn so far, and what its next input makes of it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import anyio

from annotator_companion.overlay import overlay
from annotator_companion.pictures import PictureKey, Pictures
from annotator_companion.polygons import outline
from annotator_companion.threads import Threads
from annotator_companion.tools.base import Action, Drawing, Kind, Picture, Point, Region, Sketch, Tool
from annotator_companion.turns import Turn, Turns, settle
from models.errors import DetectorApplianceError, InvalidInput, ModelFailed
from models.wire.detections import Shape, ShapePoint
from models.wire.training import AnnotationData, SegmentationAnnotation

log = logging.getLogger(__name__)

TOOL_WITHIN_S = 60.0
"""A tool that takes longer is given up: its thread is lost, the page goes on with a new drawing."""

NEXT_TOOL_KEY = "t"
FORGET_KEY = "Escape"

_KINDS: dict[str, tuple[Kind, bool]] = {
    "left_mouse_down": ("down", False),
    "right_mouse_down": ("down", True),
    "mouse_move": ("move", False),
    "left_mouse_up": ("up", False),
    "right_mouse_up": ("up", True),
    "key_up": ("key", False),
}
"""Upstream's event types -> ours, and whether it is the right button."""

Store = Callable[[str, str, SegmentationAnnotation], Awaitable[None]]
"""Give an annotation to the Loop: organization, project, annotation. Raises `LoopError`."""


@dataclass(frozen=True)
class Means:
    """What all histories share. `tools`: one at least; the first is the one that a page begins with."""

    tools: Sequence[Tool]
    pictures: Pictures
    store: Store
    threads: Threads


class _Subject(NamedTuple):
    """What is drawn on, and as what."""

    key: PictureKey
    category: str


class _Work:
    """One drawing with what belongs to it. Its methods may block, and are called by one thread at a time."""

    def __init__(self, tool: Tool, picture: Picture) -> None:
        self.picture = picture
        self._tool = tool
        self._drawing: Drawing | None = None
        self._annotation_id = ""
        self._pressed: Point | None = None
        self._outlined: tuple[Region, float | None] | None = None
        self._polygon: tuple[Point, ...] = ()

    def answer(self, action: Action, data: AnnotationData) -> tuple[str, SegmentationAnnotation | None]:
        """SVG, and the annotation that is to be stored, if one is."""
        if action.kind == "down":
            self._pressed = action.at
        sketch = self._sketch(replace(action, pressed=self._pressed))
        if action.kind == "up":
            self._pressed = None
        polygon = self._outline(sketch.region, data.epsilon)
        svg = overlay(polygon, sketch.shapes, data.category.color)
        annotation = None
        if sketch.is_stored and polygon:
            points = [ShapePoint(x=x, y=y) for x, y in polygon]
            annotation = SegmentationAnnotation(
                id=self._annotation_id,
                shape=Shape(points=points),
                image_id=data.image_uuid,
                category_id=data.category.id,
            )
        if sketch.is_finished:
            self._drawing = None
        return svg, annotation

    def _sketch(self, action: Action) -> Sketch:
        for _ in range(2):
            if self._drawing is None:
                self._drawing = self._tool.begin(self.picture)
                self._annotation_id = str(uuid.uuid4())
            sketch = self._drawing.handle(action)
            if sketch is not None:
                return sketch
            self._drawing = None
        return Sketch()

    def _outline(self, region: Region | None, epsilon: float | None) -> tuple[Point, ...]:
        if region is None:
            return ()
        if self._outlined is None or self._outlined[0] is not region or self._outlined[1] != epsilon:
            self._polygon = outline(region, epsilon, self.picture.width, self.picture.height)
            self._outlined = (region, epsilon)
        return self._polygon


class History:
    """One page. Belongs to one event loop; inputs are answered one after the other, in threads."""

    def __init__(self, means: Means, now: Callable[[], float] = time.monotonic) -> None:
        self._means = means
        self._now = now
        self._turns = Turns()
        self._working: asyncio.Task[None] | None = None
        self._work: _Work | None = None
        self._subject: _Subject | None = None
        self._tool = 0
        self._svg = ""
        self.used = now()

    @property
    def overtaken(self) -> int:
        """Mouse moves that a later one was answered instead of."""
        return self._turns.overtaken

    @property
    def is_busy(self) -> bool:
        """Whether an input is being answered."""
        return self._working is not None

    @property
    def picture(self) -> Picture | None:
        """What is drawn on, and therefore held in memory."""
        return None if self._work is None else self._work.picture

    async def handle(self, data: AnnotationData) -> str:
        """Answer an input with SVG. Raises `DetectorApplianceError`; the drawing is forgotten then, unless only the Loop
        did not take it."""
        self.used = self._now()
        if data.key_up == FORGET_KEY:
            self._turns.clear("")
        elif data.event_type not in _KINDS:
            return self._svg  # a key that is held is told many times a second, and nobody has a use for it
        answer = self._turns.add(data, self._svg)
        if self._working is None:
            self._working = asyncio.create_task(self._go_on(), name="answers to a page")
        return await answer

    def forget(self) -> None:
        """Forget the drawing. What was stored stays stored."""
        self._work, self._subject, self._svg = None, None, ""

    async def close(self) -> None:
        """Answer nothing any more."""
        self._turns.clear("")
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        self.forget()

    async def _go_on(self) -> None:
        try:
            while len(self._turns):
                turn = self._turns.take()
                try:
                    self._svg = await self._answered(turn)
                    settle(turn.answer, self._svg)
                except Exception as error:
                    if not turn.answer.done():
                        turn.answer.set_exception(error)
                except asyncio.CancelledError:
                    settle(turn.answer, "")  # the page has gone, or this program ends
                    raise
                self.used = self._now()
        finally:
            if self._working is asyncio.current_task():
                self._working = None

    async def _answered(self, turn: Turn) -> str:
        data = turn.data
        if data.key_up == FORGET_KEY:
            self.forget()
            return ""
        if data.event_type == "key_up" and data.key_up == NEXT_TOOL_KEY and len(self._means.tools) > 1:
            self.forget()
            self._tool = (self._tool + 1) % len(self._means.tools)
            return ""
        context = data.context
        subject = _Subject(PictureKey(context.organization, context.project, data.image_uuid), data.category.id)
        if subject != self._subject:
            self.forget()
        tool = self._means.tools[self._tool]
        picture = await self._means.pictures.get(subject.key)
        if self._work is None:
            self._work, self._subject = _Work(tool, picture), subject
        work = self._work
        try:
            svg, annotation = await self._in_thread(tool, work, _action(turn, picture), data)
        except DetectorApplianceError:
            self.forget()
            raise
        except Exception as error:
            # Supervises tools, which may be anybody's: the person must be told, and the log tells more.
            log.exception("the tool %s failed", tool.name)
            self.forget()
            raise ModelFailed(f"the tool {tool.name} failed ({type(error).__name__}: {error})"[:500]) from error
        if annotation is not None:
            self._svg = svg
            await self._means.store(context.organization, context.project, annotation)
        return svg

    async def _in_thread(
        self, tool: Tool, work: _Work, action: Action, data: AnnotationData
    ) -> tuple[str, SegmentationAnnotation | None]:
        loop = asyncio.get_running_loop()
        # Not `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes together with the answer.
        with anyio.move_on_after(TOOL_WITHIN_S):
            return await loop.run_in_executor(self._means.threads, work.answer, action, data)
        self._means.threads.give_one_up()
        raise ModelFailed(f"the tool {tool.name} did not answer within {TOOL_WITHIN_S:.0f} s")


def _action(turn: Turn, picture: Picture) -> Action:
    """An input as tools see it: in the picture, wherever the mouse was."""
    data = turn.data
    kind, is_right = _KINDS[data.event_type]

    def inside(point: Point) -> Point:
        return min(max(point[0], 0), picture.width - 1), min(max(point[1], 0), picture.height - 1)

    return Action(
        kind,
        inside((data.coordinate.x, data.coordinate.y)),
        tuple(inside(point) for point in turn.trail),
        is_right,
        bool(data.is_shift_key_pressed),
        key=data.key_up if kind == "key" else None,
    )


class Histories:
    """A history for each page that is open, `most` of them; those that were not used for `idle_s` are forgotten."""

    LONGEST_ID = 255

    def __init__(
        self,
        means: Means,
        *,
        most: int = 200,
        idle_s: float = 3600.0,
        most_bytes: int = 512 * 2**20,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._means = means
        self._most, self._idle_s, self._most_bytes = most, idle_s, most_bytes
        self._now = now
        self._histories: dict[str, History] = {}
        self._overtaken_before = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._histories)

    @property
    def overtaken(self) -> int:
        """Mouse moves of all pages that a later one was answered instead of."""
        return self._overtaken_before + sum(history.overtaken for history in self._histories.values())

    async def handle(self, frontend_id: str, data: AnnotationData) -> str:
        """Answer an input of a page. Raises `DetectorApplianceError`."""
        if not 0 < len(frontend_id) <= self.LONGEST_ID:
            raise InvalidInput(f"the frontend_id has {len(frontend_id)} characters; 1 to {self.LONGEST_ID} are due")
        history = self._histories.get(frontend_id)
        if history is None:
            history = self._histories[frontend_id] = History(self._means, self._now)
        try:
            return await history.handle(data)
        finally:
            await self.tidy()

    async def leave(self, frontend_id: str) -> None:
        """A page was closed: forget it."""
        history = self._histories.pop(frontend_id, None)
        if history is not None:
            self._overtaken_before += history.overtaken
            await history.close()

    async def tidy(self) -> None:
        """Forget pages that are idle, and those used least recently where they are too many or hold too much."""
        now = self._now()
        oldest_first = sorted(
            (page for page in self._histories.items() if not page[1].is_busy), key=lambda page: page[1].used
        )
        for frontend_id, history in oldest_first:
            is_idle = now - history.used > self._idle_s
            if not is_idle and len(self._histories) <= self._most and self._held() <= self._most_bytes:
                break
            self.forgotten += 1
            await self.leave(frontend_id)

    async def close(self) -> None:
        """Forget all."""
        for frontend_id in list(self._histories):
            await self.leave(frontend_id)

    def _held(self) -> int:
        """Bytes of the pictures that drawings hold."""
        pictures = {id(history.picture): history.picture for history in self._histories.values()}
        return sum(picture.pixels.nbytes for picture in pictures.values() if picture is not None)
