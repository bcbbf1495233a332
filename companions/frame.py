"""What is around the page of every companion: the frame of the dashboard, the one sentence, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from companions.condition import Condition, Trouble
from ui.kit.frame import Frame, page_frame
from ui.kit.snackbar import Snackbar
from ui.kit.states import banner


class Around:
    """Beside the content: `show` tells how the companion is, `snackbar` what was just done."""

    def __init__(self, frame: Frame) -> None:
        self.snackbar = Snackbar()
        self._frame = frame
        self._place = ui.element("div").classes("stack")
        self._shown: tuple[Trouble, ...] | None = None

    def show(self, condition: Condition) -> None:
        """Tell how it is now. Banners change only when they say something else: readers would hear them again."""
        self._frame.say(condition.sentence, condition.severity)
        if condition.troubles == self._shown:
            return
        self._shown = condition.troubles
        self._place.clear()
        self._place.set_visibility(bool(condition.troubles))
        with self._place:
            for trouble in condition.troubles:
                with banner(trouble.severity, trouble.reason, trouble.way_out):
                    pass


@contextmanager
def companion_page(title: str, name: str) -> Iterator[Around]:
    """Build the content inside. `title`: what the companion is; `name`: what this one is called."""
    whole = f"{title} {name}"
    with page_frame(title, "/", (), product=whole) as frame:
        ui.page_title(whole)
        yield Around(frame)
