"""Where one can go, and what every page has around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nicegui import ui

from ui.kit.following import follow
from ui.kit.frame import Frame, Place, page_frame
from ui.kit.snackbar import Snackbar
from ui.pages.leaving import log_out
from ui.ports import Box, Condition, Visitor

PRODUCT = "Detector"

PLACES = (
    Place("/", "Overview", "overview"),
    Place("/live", "Live", "live"),
    Place("/models", "Models", "models"),
    Place("/outbox", "Outbox", "outbox"),
    Place("/system", "System", "system"),
    Place("/settings", "Settings", "settings"),
)


def name_of(path: str) -> str:
    """What people call the page at a path, which may say a place on it: `Settings` for `/settings#access`."""
    plain = path.partition("#")[0]
    return next((place.name for place in PLACES if place.path == plain), plain.strip("/").capitalize())


@dataclass(frozen=True)
class Page:
    """What a page has beside its content."""

    frame: Frame
    snackbar: Snackbar
    visitor: Visitor


@asynccontextmanager
async def page(box: Box, path: str) -> AsyncIterator[Page]:
    """Build a page's content inside; around it the frame, which follows the box's condition."""
    place = next(place for place in PLACES if place.path == path)
    with page_frame(place.name, path, PLACES, product=box.name or PRODUCT) as frame:

        def say(condition: Condition) -> None:
            worst = f" {condition.troubles[0].reason}" if condition.troubles and path != "/" else ""
            end = "" if not worst or condition.sentence.endswith(".") else "."
            frame.say(f"{condition.sentence}{end}{worst}", condition.severity)

        visitor = box.access.visitor(ui.context.client.request.scope)
        if visitor.standing().session is not None:
            with frame.corner:
                log_out("quiet")
        await follow(box.condition, say)
        yield Page(frame, Snackbar(), visitor)
