"""The overview page as its visitor sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from nicegui import ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing import User, user_simulation

from models.errors import ImageUnreadable
from ui.pages import overview
from ui.ports import Condition, Found, Sight


class FakeBox:
    """A box that says and sees what it is told to."""

    def __init__(self) -> None:
        self.said = Condition("Detecting with model 0.0 on onnx/cpu/2 · 7 pictures so far", None)
        self.found: list[Found] = []
        self.refusal: str | None = None
        self.looked_at: list[bytes] = []

    def condition(self) -> Condition:
        return self.said

    async def look(self, picture: bytes) -> Sight:
        self.looked_at.append(picture)
        if self.refusal is not None:
            raise ImageUnreadable(self.refusal)
        return Sight(b"\xff\xd8 a jpeg", 640, 480, self.found, 23.4)


def visit(story: Callable[[User, FakeBox], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a story of somebody who has opened the page."""

    async def visited() -> None:
        box = FakeBox()
        async with user_simulation(lambda: overview.build(box)) as user:
            await user.open("/")
            await story(user, box)

    @wraps(story)
    def run() -> None:
        asyncio.run(visited())

    del run.__wrapped__  # else pytest would look for fixtures named like the arguments
    return run


async def choose(user: User, picture: bytes) -> None:
    """Choose a picture on the page."""
    [uploader] = user.find(ui.upload).elements
    await uploader.handle_uploads([SmallFileUpload("photo.jpg", "image/jpeg", picture)])


@visit
async def test_the_page_says_how_the_box_is(user: User, box: FakeBox) -> None:
    await user.should_see("Detecting with model 0.0 on onnx/cpu/2 · 7 pictures so far")
    await user.should_see("Detector appliance")


@visit
async def test_trouble_is_shown_and_goes_away(user: User, box: FakeBox) -> None:
    overview_timer = next(iter(user.find(ui.timer).elements))
    box.said = Condition("Not detecting", "No model is loaded")

    overview_timer.callback()  # type: ignore[misc]  # two seconds have passed
    await user.should_see("No model is loaded")
    await user.should_see("Not detecting")

    box.said = Condition("Detecting again", None)
    overview_timer.callback()  # type: ignore[misc]
    await user.should_see("Detecting again")
    await user.should_not_see("No model is loaded")


@visit
async def test_a_chosen_picture_is_shown_with_what_is_in_it(user: User, box: FakeBox) -> None:
    box.found = [Found("cat", 0.873, (10, 20, 30, 40)), Found("indoors", 0.6, None)]

    await choose(user, b"the picture")

    await user.should_see("Found in 23 ms: cat 87%, indoors 60%")
    assert box.looked_at == [b"the picture"]
    [image] = user.find(ui.interactive_image).elements
    assert image.content.count("<text") == 1, "a statement about the whole picture has no box"
    assert "cat 87%" in image.content
    assert image.props["aria-label"] == "Picture with cat 87%, indoors 60%"


@visit
async def test_a_picture_with_nothing_in_it_says_so(user: User, box: FakeBox) -> None:
    await choose(user, b"the picture")

    await user.should_see("Found in 23 ms: nothing that the model knows")


@visit
async def test_what_is_no_picture_is_told_in_words(user: User, box: FakeBox) -> None:
    box.refusal = "This is text, no picture. Send a JPEG, PNG or WebP picture."

    await choose(user, b"text")

    await user.should_see("This is text, no picture. Send a JPEG, PNG or WebP picture.")
    await user.should_not_see(ui.interactive_image)


@visit
async def test_the_next_picture_takes_the_place_of_the_one_before(user: User, box: FakeBox) -> None:
    box.refusal = "This is no picture."
    await choose(user, b"text")
    await user.should_see("This is no picture.")

    box.refusal = None
    await choose(user, b"a picture")
    await user.should_see("Found in 23 ms")
    await choose(user, b"another")

    await user.should_not_see("This is no picture.")
    assert len(user.find(ui.interactive_image).elements) == 1


NASTY = '"><img src=x onerror=alert(1)> aria-hidden="true'


@visit
async def test_a_category_with_a_hostile_name_is_text(user: User, box: FakeBox) -> None:
    box.found = [Found(NASTY, 0.5, (1, 2, 3, 4))]

    await choose(user, b"the picture")

    await user.should_see(f"{NASTY} 50%")
    [image] = user.find(ui.interactive_image).elements
    assert "<img" not in image.content
    assert image.props["aria-label"] == f"Picture with {NASTY} 50%"
    assert "aria-hidden" not in image.props


@visit
async def test_people_who_cannot_see_the_page_are_told_what_changes(user: User, box: FakeBox) -> None:
    box.refusal = "This is no picture."
    await choose(user, b"text")
    await user.should_see("This is no picture.")

    labels = user.find(ui.label).elements
    roles = {label.text: label.props.get("role") for label in labels}
    assert roles["This is no picture."] == "alert"
    assert roles[box.said.sentence] == "status"
