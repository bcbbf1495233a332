"""Cameras and what people call them, as a visitor of the pages sees and changes it."""

from __future__ import annotations

import time
from dataclasses import replace

from nicegui.testing import User

from tests.ui.fake_box import FakeBox
from tests.ui.stories import all_of, only, press, tell, until, visit
from ui.kit.fields import Field, Form
from ui.kit.picture import Picture
from ui.pages import overview, settings
from ui.ports import CameraRow, CameraSight, CamerasView, Sight

CAMERA = "usb-0:1.2"
SEEN = CameraSight(CAMERA, Sight("7", "/pictures/seen/camera/7", 640, 480, ()), time.time(), CAMERA)
NAMELESS = CameraSight("without a camera id", Sight("8", "/pictures/seen/camera/8", 640, 480, ()), time.time())


def seen(box: FakeBox) -> None:
    box.seeing.told.value = (SEEN,)


def known(box: FakeBox) -> None:
    box.cameras.told.value = CamerasView(
        (CameraRow(CAMERA, "Front left", "last picture 22 Nov, 14:03"), CameraRow("rear", "", "no picture lately"))
    )


def field(user: User, camera: str) -> Field:
    """That of a camera."""
    return next(
        each for each in all_of(user, Field) if camera in [getattr(part, "text", "") for part in each.descendants()]
    )


async def send(user: User) -> None:
    """Press Enter in the form."""
    assert user.client is not None
    with user.client:
        await only(user, Form).send()


@visit(overview.build, seen)
async def test_a_camera_is_called_something_else_where_it_is_seen_and_that_can_be_undone(
    user: User, box: FakeBox
) -> None:
    await press(user, "Rename")
    await tell(user, only(user, Field)._control, "change", " Front left ")
    await send(user)
    assert box.done == [("rename", CAMERA, " Front left ")]
    await user.should_see("Camera usb-0:1.2 is called Front left now.")

    box.seeing.told.value = (replace(SEEN, camera="Front left"),)
    await user.should_see("Front left", retries=50)
    await user.should_see(CAMERA)
    await until(
        lambda: only(user, Picture).props["alt"] == "Latest picture of camera Front left in which nothing was found"
    )

    await press(user, "Undo")
    assert box.done[1:] == [("rename", CAMERA, "")]


@visit(overview.build, seen)
async def test_a_name_that_is_none_is_told_where_it_was_written(user: User, box: FakeBox) -> None:
    await press(user, "Rename")
    box.deeds.refusal = "camera_names is … which cannot be used."
    await send(user)

    assert only(user, Field).wrong.text == box.deeds.refusal
    await press(user, "Cancel")
    await user.should_see("Rename")
    assert box.done == []


@visit(overview.build, lambda box: setattr(box.seeing.told, "value", (NAMELESS,)))
async def test_what_has_no_id_cannot_be_named(user: User, box: FakeBox) -> None:
    await user.should_see("without a camera id")
    await user.should_not_see("Rename")


@visit(settings.build, known)
async def test_all_cameras_can_be_named_in_one_place(user: User, box: FakeBox) -> None:
    assert field(user, CAMERA).value == "Front left"
    assert field(user, CAMERA).hint == "Last picture 22 Nov, 14:03."
    await tell(user, field(user, "rear")._control, "change", "Rear")

    assert box.done == [("rename", "rear", "Rear")]
    await press(user, "Undo")
    assert box.done[1:] == [("rename", "rear", "")]


@visit(settings.build, known)
async def test_a_camera_that_is_heard_for_the_first_time_joins_and_nothing_written_is_lost(
    user: User, box: FakeBox
) -> None:
    field(user, "rear").value = "Re"  # somebody is writing
    box.cameras.told.value = CamerasView((*box.cameras.told.value.rows, CameraRow("top", "", "last picture now")))

    await until(
        lambda: any("top" in [getattr(p, "text", "") for p in each.descendants()] for each in all_of(user, Field))
    )
    assert field(user, "rear").value == "Re"


@visit(settings.build, known)
async def test_names_that_the_environment_sets_are_locked_and_say_so(user: User, box: FakeBox) -> None:
    box.cameras.told.value = replace(
        box.cameras.told.value, locked="The names are set by the environment CAMERA_NAMES."
    )

    await user.should_see("The names are set by the environment CAMERA_NAMES.", retries=50)
    assert field(user, CAMERA)._control.props["disabled"]


@visit(settings.build, known)
async def test_a_name_that_cannot_be_kept_is_told_at_its_field(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "The disk is full."
    await tell(user, field(user, "rear")._control, "change", "Rear")

    assert field(user, "rear").wrong.text == "The disk is full."
