"""Who is logged in, and the password: as the visitor of a page sees and changes them."""

from __future__ import annotations

import pytest
from nicegui import ui
from nicegui.testing import User

from models.errors import InvalidInput, TooManyTries, WrongPassword
from tests.ui.fake_box import FakeBox
from tests.ui.stories import all_of, button, press_later, tell, until, visit
from ui.kit.fields import Field, Form
from ui.kit.words import Button
from ui.pages import overview, settings
from ui.ports import AccessView, SessionRow, Standing

PHONE = SessionRow("0123456789ab", "192.168.4.7", "Firefox on Android", "21 Nov, 10:00", "just now")
DESK = SessionRow("ba9876543210", "192.168.4.8", "Edge on Windows", "20 Nov, 10:00", "22 Nov, 09:12")
LOGGED_IN = Standing("You are logged in from 192.168.4.7, until 20 Dec.", PHONE.id, needs_current=True)


def claimed(box: FakeBox) -> None:
    box.access.told.value = AccessView(True, (PHONE, DESK))
    box.access.who.stands = LOGGED_IN


def field(user: User, label: str) -> Field:
    """The field with this label."""
    [found] = [
        each for each in all_of(user, Field) if label in [getattr(part, "text", "") for part in each.descendants()]
    ]
    return found


async def write(user: User, **texts: str) -> None:
    """Fill in the fields of the form: `current`, `new`, `again`."""
    labels = {"current": "Current password", "new": "New password", "again": "The same once more"}
    for name, text in texts.items():
        await tell(user, field(user, labels[name])._control, "change", text)


async def send(user: User) -> None:
    """Press Enter in the form."""
    [form] = all_of(user, Form)
    assert user.client is not None
    with user.client:
        await form.send()


async def confirm(user: User, text: str) -> None:
    """Press the button of the question that is open."""
    found = [each for each in all_of(user, Button) if each.text == text][-1]
    assert user.client is not None
    with user.client:
        await found._press()


@visit(settings.build, claimed)
async def test_one_sees_who_is_logged_in_and_why_one_may_be_here(user: User, box: FakeBox) -> None:
    await user.should_see("You are logged in from 192.168.4.7, until 20 Dec.")
    await user.should_see("Firefox on Android, 192.168.4.7")
    await user.should_see("since 20 Nov, 10:00, seen 22 Nov, 09:12")
    await user.should_see("this one")
    await user.should_see("The box has a password.")
    assert [each.text for each in all_of(user, Button)].count("End") == 1, "one's own is ended by logging out"

    box.access.say(sessions=(PHONE,))
    await user.should_not_see("Edge on Windows", retries=50)
    await user.should_not_see("End all others")


@visit(settings.build, claimed)
async def test_a_session_is_ended_once_that_was_confirmed(user: User, box: FakeBox) -> None:
    pressed = press_later(user, "End")
    await user.should_see("End the session of Edge on Windows at 192.168.4.8?", retries=50)
    assert box.done == []
    await confirm(user, "End it")
    await pressed

    assert box.done == [("end", DESK.id)]
    await user.should_not_see("Edge on Windows, 192.168.4.8", retries=50)


@visit(settings.build, claimed)
async def test_all_others_are_ended_together(user: User, box: FakeBox) -> None:
    pressed = press_later(user, "End all others")
    await user.should_see("End all other sessions?", retries=50)
    await confirm(user, "End them")
    await pressed

    assert box.done == [("end others",)]
    await user.should_see("One other session has ended.")


@visit(settings.build, claimed)
async def test_the_password_is_changed_and_it_is_said_whom_that_put_out(user: User, box: FakeBox) -> None:
    await user.should_see("8 characters or more; a few words are easy to keep and hard to guess.")
    await write(user, current="correct horse", new="battery staple", again="battery staple")
    await send(user)

    assert box.done == [("set password", "battery staple", "correct horse")]
    await user.should_see("The password is changed. 2 other sessions have ended.")
    assert [field(user, label).value for label in ("Current password", "New password")] == ["", ""]


@visit(settings.build, claimed)
async def test_what_is_missing_is_said_where_it_belongs_and_nothing_is_sent(user: User, box: FakeBox) -> None:
    await write(user, new="short", again="other")
    await send(user)

    assert field(user, "Current password").wrong.text == "This is empty: the password that holds now is due."
    assert field(user, "New password").wrong.text == "8 characters or more are due."
    assert field(user, "The same once more").wrong.text.startswith("The two are not the same")
    await write(user, current="correct horse", new="battery staple", again="battery stable")
    await send(user)
    assert field(user, "New password").wrong.text == ""
    assert field(user, "The same once more").wrong.text
    assert box.done == []


REFUSALS = {
    "a wrong one": (WrongPassword("That is not the password."), "Current password"),
    "too often a wrong one": (TooManyTries("Too many wrong tries came from your network."), "Current password"),
    "one that is none": (InvalidInput("A password has 8 to 255 characters"), "New password"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_the_box_does_not_take_is_said_at_the_field(case: str) -> None:
    wrong, label = REFUSALS[case]

    @visit(settings.build, claimed)
    async def story(user: User, box: FakeBox) -> None:
        box.access.who.wrong = wrong
        await write(user, current="a guess", new="battery staple", again="battery staple")
        await send(user)

        assert field(user, label).wrong.text == str(wrong)
        assert field(user, "New password").value == "battery staple", "it can be sent again"

    story()


@visit(settings.build)
async def test_the_first_password_takes_no_current_one(user: User, box: FakeBox) -> None:
    await user.should_see("Nobody has set a password yet")
    await user.should_not_see("Current password")
    await write(user, new="battery staple", again="battery staple")
    assert button(user, "Set the password").props["type"] == "submit"
    await send(user)

    assert box.done == [("set password", "battery staple", "")]
    box.access.say(claimed=True)
    await user.should_see("Change the password", retries=50)


@visit(settings.build, claimed)
async def test_password_managers_are_told_what_is_what(user: User, box: FakeBox) -> None:
    inputs = {
        str(each.props["autocomplete"]): each for each in all_of(user, ui.element) if "autocomplete" in each.props
    }
    assert {"current-password", "new-password", "username"} <= set(inputs)
    assert inputs["current-password"].props["type"] == inputs["new-password"].props["type"] == "password"


@visit(settings.build, lambda box: box.access.say(problem="Nobody can log in, because of password.json."))
async def test_a_password_that_cannot_be_read_is_told(user: User, box: FakeBox) -> None:
    await user.should_see("Nobody can log in, because of password.json.")
    box.access.say(problem=None)
    await user.should_not_see("Nobody can log in", retries=50)


@visit(overview.build, claimed)
async def test_who_is_logged_in_can_log_out_on_every_page(user: User, box: FakeBox) -> None:
    await user.should_see("Log out")


@visit(overview.build)
async def test_who_is_not_logged_in_is_not_asked_to_log_out(user: User, box: FakeBox) -> None:
    await user.should_not_see("Log out")


@visit(settings.build, claimed)
async def test_what_cannot_be_stored_is_said_beside_the_list(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "The disk is full."
    pressed = press_later(user, "End")
    await until(lambda: any(each.text == "End it" for each in all_of(user, Button)))
    await confirm(user, "End it")
    await pressed

    await user.should_see("The disk is full.")
