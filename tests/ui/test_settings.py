"""The page of the settings as its visitor uses it."""

from __future__ import annotations

from nicegui.testing import User

from tests.ui.fake_box import FakeBox
from tests.ui.stories import all_of, button, press, press_later, tell, until, visit
from ui.kit.fields import Field
from ui.pages import settings
from ui.ports import KeyRow, SettingRow, SettingsView

THRESHOLD = SettingRow("low", "Uncertain from", "0.3", "as it comes", "A confidence.", "Pictures", "number")
LOCKED = SettingRow(
    "size", "May wait", "7", "set by the environment SIZE", "Pictures.", "Outbox", "number", locked=True
)
FORMAT = SettingRow("log_format", "log_format", "text", "as it comes", "For people.")


def prepared(box: FakeBox) -> None:
    box.settings.told.value = SettingsView((THRESHOLD, LOCKED, FORMAT), (KeyRow("warehouse", "1 Nov, 10:00:00"),))


def field(user: User, label: str) -> Field:
    """The field with this label."""
    [found] = [
        each for each in all_of(user, Field) if label in [getattr(part, "text", "") for part in each.descendants()]
    ]
    return found


async def write(user: User, label: str, text: str) -> None:
    """Fill in a field and leave it."""
    await tell(user, field(user, label)._control, "change", text)


@visit(settings.build, prepared)
async def test_a_change_is_made_and_can_be_undone(user: User, box: FakeBox) -> None:
    await write(user, "Uncertain from", "0.2")

    assert box.done == [("change", "low", "0.2")]
    await user.should_see("changed here", retries=50)
    await press(user, "Undo")
    assert box.done[1] == ("change", "low", ""), "back to what it was, which was nothing of this page's"


@visit(settings.build, prepared)
async def test_what_cannot_be_used_is_said_beside_the_field(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "low is '2', which cannot be used: input should be less than or equal to 1."

    await write(user, "Uncertain from", "2")

    assert field(user, "Uncertain from").wrong.text == box.deeds.refusal
    assert field(user, "Uncertain from").value == "2", "it can be corrected"
    box.deeds.refusal = None
    await write(user, "Uncertain from", "0.5")
    assert field(user, "Uncertain from").wrong.text == ""


@visit(settings.build, prepared)
async def test_what_the_environment_sets_is_locked_and_says_so(user: User, box: FakeBox) -> None:
    assert field(user, "May wait")._control.props["disabled"]
    assert not field(user, "Uncertain from")._control.props.get("disabled")
    await user.should_see("locked: set by the environment SIZE")


@visit(settings.build, prepared)
async def test_what_others_change_is_shown_without_a_reload(user: User, box: FakeBox) -> None:
    await box.settings.change("low", "0.25")  # curl

    await until(lambda: field(user, "Uncertain from").value == "0.25")


@visit(settings.build, prepared)
async def test_what_a_visitor_is_writing_is_not_taken_away(user: User, box: FakeBox) -> None:
    field(user, "Uncertain from").value = "0.4"
    box.settings.told.value = SettingsView((THRESHOLD, LOCKED, FORMAT), ())
    await user.should_see("There are none.", retries=50)

    assert field(user, "Uncertain from").value == "0.4"


@visit(settings.build, prepared)
async def test_what_counts_from_the_next_start_on_says_so(user: User, box: FakeBox) -> None:
    due = SettingRow("low", "Uncertain from", "0.3", "changed here", "A confidence.", "Pictures", "number", due="0.1")
    box.settings.put(due, LOCKED, FORMAT)

    await user.should_see("From the next start on: Uncertain from.", retries=50)
    await user.should_see("after a restart")


@visit(settings.build, prepared)
async def test_the_rest_is_shown_with_where_it_comes_from(user: User, box: FakeBox) -> None:
    await user.should_see("text (as it comes)")


@visit(settings.build, prepared)
async def test_a_key_is_made_shown_once_and_revoked(user: User, box: FakeBox) -> None:
    await write(user, "Name of a new key", "lift")
    await press(user, "Make a key")
    await user.should_see("da_shown-only-now", retries=50)
    await user.should_see("lift, made 22 Nov, 14:00:00", retries=50)
    await press(user, "I have it")
    await user.should_not_see("da_shown-only-now")

    pressed = press_later(user, "Revoke", 0)
    await user.should_see("Revoke the key warehouse?", retries=50)
    dialog_button = [each for each in all_of(user, type(button(user, "Revoke"))) if each.text == "Revoke"][-1]
    assert user.client is not None
    with user.client:
        await dialog_button._press()
    await pressed
    assert box.done == [("create key", "lift"), ("revoke key", "warehouse")]
    await user.should_not_see("warehouse, made 1 Nov, 10:00:00", retries=50)


@visit(settings.build, prepared)
async def test_a_key_that_cannot_be_made_says_why(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "There is a key 'lift' already."
    await write(user, "Name of a new key", "lift")

    await press(user, "Make a key")

    assert field(user, "Name of a new key").wrong.text == "There is a key 'lift' already."
