"""A box around a thing becomes its mask by GrabCut (Rother, Kolmogorov, Blake 2004); strokes correct it.

Drag a box around the thing with the left button. Then drag over what was left out; hold shift, or use the right button,
to drag over what does not belong to it. Backspace takes back the last stroke, Enter ends the drawing; so does beginning
a box somewhere else.
"""

from __future__ import annotations

from annotator_companion.tools.base import Action, Picture, Region, Sketch
from annotator_companion.tools.cuts import warm_up
from annotator_companion.tools.cutting import Cutting, Rectangle
from annotator_companion.tools.strokes import Stroke

MAX_STROKES = 200


class GrabCut:
    """See `annotator_companion.tools.base.Tool`."""

    name = "grabcut"

    def __init__(self) -> None:
        warm_up()

    def begin(self, picture: Picture) -> GrabCutDrawing:
        """See `Tool`."""
        return GrabCutDrawing(picture)


class GrabCutDrawing:
    """See `annotator_companion.tools.base.Drawing`."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._cutting: Cutting | None = None
        self._strokes: list[Stroke] = []
        self._held: Stroke | None = None
        self._region: Region | None = None

    def handle(self, action: Action) -> Sketch | None:
        """See `Drawing`."""
        cutting = self._cutting
        if cutting is None:
            return self._box(action)
        if action.kind == "down":
            is_foreground = not (action.shift or action.is_right)
            if is_foreground and not cutting.holds(action.at, self._strokes):
                return None
            self._held = Stroke(is_foreground)
        if self._held is not None and action.kind != "key":
            self._held.follow(action)
        if self._held is not None and action.kind == "up":
            self._strokes = [*self._strokes[-MAX_STROKES + 1 :], self._held]
            self._held = None
            return self._found(cutting)
        if action.kind == "key" and action.key == "Enter":
            return Sketch(region=self._region, is_finished=True)
        if action.kind == "key" and action.key == "Backspace" and self._strokes and self._held is None:
            self._strokes.pop()
            return self._found(cutting)
        return self._sketch()

    def _box(self, action: Action) -> Sketch:
        if action.pressed is None or action.is_right or action.kind == "key":
            return Sketch()
        drawn = Rectangle.between(action.pressed, action.at)
        if action.kind != "up":
            return Sketch((drawn.box,))
        if drawn.is_click:
            return Sketch()
        self._cutting = Cutting(self._picture, drawn)
        return self._found(self._cutting)

    def _found(self, cutting: Cutting) -> Sketch:
        self._region = cutting.found(self._strokes)
        return Sketch(self._sketch().shapes, self._region, is_stored=True)

    def _sketch(self) -> Sketch:
        strokes = self._strokes if self._held is None else [*self._strokes, self._held]
        return Sketch(tuple(stroke.shape for stroke in strokes), self._region)
