"""The page of the machine as its visitor uses it."""

from __future__ import annotations

from dataclasses import replace

from nicegui.testing import User

from tests.ui.fake_box import FakeBox
from tests.ui.stories import all_of, button, press, press_later, tell, until, visit
from ui.kit.fields import Field
from ui.kit.mode_switch import ModeSwitch
from ui.kit.words import Words
from ui.pages import system
from ui.ports import SystemView, Trouble

BOARD = ("Board", (("Model", "Raspberry Pi 4 Model B"), ("Switched on for", "3 h 5 min")))


def shown_log(user: User) -> str:
    """What stands in the log."""
    return next(str(each.text) for each in all_of(user, Words) if each.tag == "pre")


def field(user: User, number: int) -> Field:
    return all_of(user, Field)[number]


def in_trouble(box: FakeBox) -> None:
    finding = Trouble("warning", "The machine is hot: 91 °C.", "Give it air, shade or a heat sink.", "/models")
    box.system.told.value = SystemView((BOARD,), (finding,))


def talkative(box: FakeBox) -> None:
    for number in range(200):
        box.system.logged("INFO", f"picture {number} looked at")
    box.system.logged("WARNING", "the Loop is away")


@visit(system.build, in_trouble)
async def test_what_is_wrong_is_told_with_what_to_do(user: User, box: FakeBox) -> None:
    await user.should_see("The machine is hot: 91 °C.")
    await user.should_see("Give it air, shade or a heat sink.")
    await user.should_see("Go to Models")
    await user.should_see("Raspberry Pi 4 Model B")

    box.system.told.value = SystemView((BOARD,))
    await user.should_see("Nothing is wrong.", retries=50)
    await user.should_not_see("Give it air, shade or a heat sink.")


@visit(system.build, in_trouble)
async def test_what_changes_is_shown_without_a_reload(user: User, box: FakeBox) -> None:
    name, lines = BOARD
    box.system.told.value = replace(
        box.system.told.value, facts=((name, (lines[0], ("Switched on for", "3 h 6 min"))),)
    )

    await user.should_see("3 h 6 min", retries=50)
    await user.should_not_see("3 h 5 min")


@visit(system.build, talkative)
async def test_the_log_is_bounded_has_the_newest_on_top_and_goes_on_by_itself(user: User, box: FakeBox) -> None:
    lines = shown_log(user).splitlines()
    assert len(lines) == system.LINES
    assert lines[:2] == ["WARNING the Loop is away", "INFO picture 199 looked at"]

    box.system.logged("ERROR", "the disk is full")
    await until(lambda: shown_log(user).startswith("ERROR the disk is full"))


@visit(system.build, talkative)
async def test_the_log_is_filtered_by_level_and_by_words(user: User, box: FakeBox) -> None:
    select, search = (field(user, number)._control for number in (0, 1))

    await tell(user, select, "change", "WARNING")
    assert shown_log(user) == "WARNING the Loop is away"
    await tell(user, select, "change", "DEBUG")
    await tell(user, search, "input", "picture 17")
    assert len(shown_log(user).splitlines()) == 11
    await tell(user, search, "input", "no such thing")
    assert shown_log(user) == "Nothing that fits was logged since the start."


@visit(system.build)
async def test_how_much_is_logged_is_switched(user: User, box: FakeBox) -> None:
    [switch] = all_of(user, ModeSwitch)
    assert switch.value == "INFO"

    await tell(user, switch, "choose", "DEBUG")

    assert box.done == [("log level", "DEBUG")]
    await until(lambda: switch.value == "DEBUG")


@visit(system.build)
async def test_restarting_asks_first(user: User, box: FakeBox) -> None:
    pressed = press_later(user, "Restart")
    await user.should_see("Start the box anew?", retries=50)
    await press(user, "Cancel")
    await pressed
    assert box.done == []

    pressed = press_later(user, "Restart")
    await user.should_see("Start the box anew?", retries=50)
    await press(user, "Restart now")
    await pressed
    assert box.done == [("restart",)]
    await user.should_see("The box starts anew.")


def started_by_others(box: FakeBox) -> None:
    box.system.can_restart = False


@visit(system.build, started_by_others)
async def test_a_box_that_cannot_start_itself_anew_says_so(user: User, box: FakeBox) -> None:
    assert button(user, "Restart").props["disabled"]
    await user.should_see("was not started in a way that lets it start itself anew")


@visit(system.build)
async def test_the_support_bundle_is_a_link(user: User, box: FakeBox) -> None:
    [bundle] = [each for each in all_of(user, Words) if each.text == "Save a support bundle"]
    assert bundle.props["href"] == "/api/v1/support"
