"""The page where one tries pictures, as its visitor uses it."""

from __future__ import annotations

import time

from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing import User

from tests.ui.fake_box import FakeBox
from tests.ui.stories import all_of, only, press, tell, visit
from ui.kit.file_drop import FileTaker
from ui.kit.marks import Mark
from ui.kit.picture import FoundList, Picture
from ui.kit.slider import ConfidenceSlider
from ui.pages import live
from ui.ports import CameraSight, Sight

CAT = Mark("cat", 0.873, (10, 20, 30, 40))
INDOORS = Mark("indoors", 0.6)


def sees_a_cat(box: FakeBox) -> None:
    box.seeing.found = (CAT, INDOORS)


async def choose(user: User, picture: bytes = b"the picture") -> None:
    """Choose a picture on the page."""
    await only(user, FileTaker).handle_uploads([SmallFileUpload("photo.jpg", "image/jpeg", picture)])


@visit(live.build, sees_a_cat)
async def test_a_chosen_picture_is_shown_with_what_is_in_it(user: User, box: FakeBox) -> None:
    await choose(user)

    await user.should_see("Found 2 in 23 ms", retries=50)
    assert box.done == [("look", b"the picture")]
    picture = all_of(user, Picture)[0]
    assert [mark["kind"] for mark in picture.props["marks"]] == ["box", "whole"]
    assert picture.props["alt"] == "Picture with cat 87%, indoors 60%"


@visit(live.build, sees_a_cat)
async def test_who_has_no_picture_at_hand_tries_the_one_that_comes_along(user: User, box: FakeBox) -> None:
    await press(user, "Try a photograph that comes along")

    await user.should_see("Found 2 in 23 ms", retries=50)
    assert box.done == [("look", b"the sample")]
    await user.should_not_see("No picture at hand?")


@visit(live.build)
async def test_a_picture_with_nothing_in_it_says_so(user: User, box: FakeBox) -> None:
    await choose(user)

    await user.should_see("Nothing that the model knows.", retries=50)


@visit(live.build, sees_a_cat)
async def test_what_is_no_picture_is_told_in_words_and_forgotten_with_the_next(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "This is text, no picture. Send a JPEG, PNG or WebP picture."
    await choose(user, b"text")
    await user.should_see("This is text, no picture.", retries=50)
    await user.should_not_see("Found")

    box.deeds.refusal = None
    await choose(user)
    await user.should_see("Found 2 in 23 ms", retries=50)
    await user.should_not_see("This is text, no picture.")


@visit(live.build, sees_a_cat)
async def test_the_slider_hides_what_is_less_sure(user: User, box: FakeBox) -> None:
    await choose(user)
    await user.should_see("Found 2 in 23 ms", retries=50)
    slider = next(each for each in only(user, ConfidenceSlider).descendants() if each.props.get("type") == "range")

    await tell(user, slider, "input", "70")

    names = [getattr(each, "text", "") for each in only(user, FoundList).descendants()]
    assert "cat" in names
    assert "indoors" not in names
    assert all_of(user, Picture)[0].props["least"] == 0.7


@visit(live.build, sees_a_cat)
async def test_a_picture_is_sent_to_the_loop(user: User, box: FakeBox) -> None:
    await choose(user)
    await user.should_see("Found 2 in 23 ms", retries=50)

    await press(user, "Send to the Loop")

    assert box.done[1:] == [("send", "own-1")]
    await user.should_see("The picture waits in the outbox.")


async def missed(user: User, name: str) -> None:
    """Say that the model missed something of this name."""
    await choose(user)
    await user.should_see("Found 2 in 23 ms", retries=50)
    await press(user, "The model missed something")
    assert user.client is not None
    field = next(each for each in user.client.elements.values() if each.props.get("id") == "missed-name")
    await tell(user, field, "input", name)


async def submit(user: User) -> None:
    """Press the form's button."""
    assert user.client is not None
    form = next(each for each in user.client.elements.values() if each.tag == "form")
    await tell(user, form, "submit", {})


@visit(live.build, sees_a_cat)
async def test_what_the_model_missed_is_drawn_named_and_sent_first(user: User, box: FakeBox) -> None:
    await missed(user, " bolt ")
    picture = all_of(user, Picture)[0]
    assert picture.props["drawing"] is True

    await tell(user, picture, "drawn", {"x": 600, "y": 10, "width": 100, "height": 50})
    await user.should_see("Box at 600, 10: 40 wide, 50 high.")  # it ends where the picture does
    await submit(user)

    assert box.done[1:] == [("send missed", "own-1", "bolt", (600, 10, 40, 50))]
    await user.should_see("The missed bolt will be sent first.")
    assert picture.props["drawing"] is False


@visit(live.build, sees_a_cat)
async def test_a_box_can_be_put_there_without_a_mouse(user: User, box: FakeBox) -> None:
    await missed(user, "bolt")

    await press(user, "Put a box in the middle")
    await user.should_see("Box at 240, 180: 160 wide, 120 high.")
    await submit(user)

    assert box.done[1:] == [("send missed", "own-1", "bolt", (240, 180, 160, 120))]


@visit(live.build, sees_a_cat)
async def test_without_box_or_name_nothing_is_sent(user: User, box: FakeBox) -> None:
    await missed(user, "")
    await press(user, "Put a box in the middle")
    await submit(user)
    await user.should_see("A box and a name are needed")

    await tell(user, all_of(user, Picture)[0], "drawn", {"x": "nonsense"})
    await submit(user)

    assert box.done[1:] == []


def a_camera(box: FakeBox) -> None:
    box.seeing.told.value = (
        CameraSight("front", Sight("7", "/pictures/seen/camera/7", 640, 480, (CAT,)), time.time(), "front"),
    )


@visit(live.build, a_camera)
async def test_a_camera_s_picture_is_looked_at_closer(user: User, box: FakeBox) -> None:
    await press(user, "Look closer")

    assert box.done == [("look again", "7")]
    await user.should_see("Found 1", retries=50)
