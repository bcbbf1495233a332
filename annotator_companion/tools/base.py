"""What a tool is: it gets what a person does with the mouse on a picture, and says what to draw and what it found.

A tool is one class in a page of code. Built in are those of `annotator_companion.tools.BUILT_IN`; others come from any
installed package, through an entry point in the group `detector_appliance.annotators` whose name is that of the tool:

    [project.entry-points."detector_appliance.annotators"]
    magic_wand = "magic_wand:MagicWand"

All coordinates are pixels of the picture as displayed: x to the right, y down, 0, 0 the top-left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.uint8]
Point: TypeAlias = tuple[int, int]
Kind: TypeAlias = Literal["down", "move", "up", "key"]
Look: TypeAlias = Literal["outline", "foreground", "background", "hint"]


@dataclass(frozen=True, eq=False)
class Picture:
    """What is annotated: uint8 RGB (height, width, 3), EXIF applied, never written to: others look at the same array."""

    pixels: Pixels

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class Action:
    """One thing that a person did.

    `at` lies inside the picture, wherever the mouse was. `trail` is where it has been since the action before, oldest
    first: moves that came faster than they could be answered are not actions of their own. `is_right` says which button
    went `down` or `up`. `pressed` is where the button went down that is held, or was until this `up`. `key` is set for
    kind `key`: the name of the key that was let go, as browsers call it ("Enter").
    """

    kind: Kind
    at: Point
    trail: tuple[Point, ...] = ()
    is_right: bool = False
    shift: bool = False
    pressed: Point | None = None
    key: str | None = None


@dataclass(frozen=True)
class Region:
    """What was found: pixels that are not 0 in `mask`, uint8 (h, w), which covers the rectangle of the picture at `left`,
    `top` of `width` x `height` pixels. The mask may be coarser than the picture, not finer.

    Only its largest connected part counts, without the holes in it: the Loop knows polygons.
    """

    left: int
    top: int
    width: int
    height: int
    mask: Mask


@dataclass(frozen=True)
class Box:
    """A rectangle to draw: top-left corner and size."""

    x: int
    y: int
    width: int
    height: int
    look: Look = "outline"


@dataclass(frozen=True)
class Line:
    """An open line to draw."""

    points: tuple[Point, ...]
    look: Look = "outline"


@dataclass(frozen=True)
class Dot:
    """A place to mark."""

    at: Point
    look: Look = "outline"


Shape: TypeAlias = Box | Line | Dot


@dataclass(frozen=True)
class Sketch:
    """What a person sees after an action: the outline of `region`, and `shapes` over it.

    `is_stored`: the region is given to the Loop, in place of what this drawing gave before. `is_finished`: the next action
    begins another drawing. Return the same `Region` object as long as it has not changed: its outline is found once.
    """

    shapes: tuple[Shape, ...] = ()
    region: Region | None = None
    is_stored: bool = False
    is_finished: bool = False


class Drawing(Protocol):
    """What one person draws on one picture, until it becomes one annotation.

    It is called by one thread at a time, not always the same. What it raises is told to the person (a
    `DetectorApplianceError` with its words, anything else as a fault of the tool), and the drawing is forgotten.
    """

    def handle(self, action: Action) -> Sketch | None:
        """Answer an action. A mouse move should take less than 50 ms, a button let go less than 500 ms.

        None: this drawing is over, and the action belongs to the next one.
        """


class Tool(Protocol):
    """A tool. One instance, made without arguments when the program starts, serves everybody.

    What raises in `begin` is treated as in `Drawing.handle`. Keys `Escape` (forget the drawing) and `t` (next tool) never
    reach it.
    """

    name: str

    def begin(self, picture: Picture) -> Drawing:
        """A new drawing on a picture. Called in a thread, maybe by several at once."""
