"""The page of the models as its visitor uses it."""

from __future__ import annotations

from nicegui.testing import User

from tests.ui.fake_box import FakeBox, row
from tests.ui.stories import all_of, only, press, press_later, tell, until, visit
from ui.kit.file_drop import FileDrop
from ui.kit.mode_switch import ModeSwitch
from ui.kit.words import Button, Words
from ui.pages import models
from ui.ports import UpdateProgress


def three_versions(box: FakeBox) -> None:
    box.models.say(
        current="1.3",
        target="1.3",
        loop="1.4",
        rollback_to="1.2",
        models=(row("1.3", serves=True), row("1.2", last_good=True), row("0.0", ships_with_box=True)),
    )


def versions(user: User) -> list[str]:
    """Those that the page lists, in order."""
    return [each.text for each in all_of(user, Words) if each.tag == "h3"]


@visit(models.build, three_versions)
async def test_the_mode_is_shown_and_changed_and_changed_back(user: User, box: FakeBox) -> None:
    switch = only(user, ModeSwitch)
    assert switch.value == "follow_loop"

    await tell(user, switch, "choose", "pause")
    assert box.done == [("set mode", "pause")]
    assert switch.value == "pause"

    await press(user, "Undo")
    assert box.done[1:] == [("set mode", "follow_loop")]
    await until(lambda: switch.value == "follow_loop")


@visit(models.build, three_versions)
async def test_what_is_changed_elsewhere_shows_here(user: User, box: FakeBox) -> None:
    switch = only(user, ModeSwitch)

    await box.models.set_mode("pause")  # curl

    await until(lambda: switch.value == "pause")


@visit(models.build, three_versions)
async def test_this_version_means_the_one_that_serves(user: User, box: FakeBox) -> None:
    await tell(user, only(user, ModeSwitch), "choose", "specific_version")

    assert box.done == [("set mode", "acme/bolts/litert/1.3")]


@visit(models.build, three_versions)
async def test_a_refused_mode_says_why_beside_the_switch_which_goes_back(user: User, box: FakeBox) -> None:
    switch = only(user, ModeSwitch)
    box.deeds.refusal = "The disk is full."

    await tell(user, switch, "choose", "pause")

    assert switch.props["error"] == "The disk is full."
    assert switch.value == "follow_loop"
    assert switch.props["revision"] == 1, "so that the browser takes back what it showed at once"


@visit(models.build, three_versions)
async def test_use_a_version(user: User, box: FakeBox) -> None:
    await press(user, "Use")  # the first that does not serve

    assert box.done == [("set mode", "acme/bolts/litert/1.2")]
    await user.should_see("Version 1.2 shall serve.")


@visit(models.build, three_versions)
async def test_roll_back(user: User, box: FakeBox) -> None:
    await press(user, "Roll back to 1.2")

    assert box.done == [("roll back",)]


@visit(models.build)
async def test_without_an_earlier_model_there_is_no_way_back(user: User, box: FakeBox) -> None:
    await press(user, "Roll back")

    assert box.done == []
    await user.should_see("There is no earlier model to go back to.")


@visit(models.build, three_versions)
async def test_removing_asks_first_for_it_cannot_be_undone(user: User, box: FakeBox) -> None:
    pressed = press_later(user, "Remove")
    await user.should_see("Remove version 1.2?", retries=50)
    assert box.done == []

    await press(user, "Cancel")
    await pressed
    assert box.done == []

    pressed = press_later(user, "Remove")
    await user.should_see("Remove version 1.2?", retries=50)
    box.models.say(models=(row("1.4"), *box.models.told.value.models))  # the list is another one meanwhile
    await user.should_see("1.4", retries=50)
    await user.should_see("Remove version 1.2?", retries=50)
    await press(user, "Remove it")
    await pressed
    assert box.done == [("remove", "acme/bolts/litert/1.2")]
    await until(lambda: versions(user) == ["1.4", "1.3", "0.0"])


@visit(models.build, three_versions)
async def test_what_serves_and_what_came_with_the_box_cannot_be_removed(user: User, box: FakeBox) -> None:
    assert len([each for each in all_of(user, Button) if each.text == "Remove"]) == 1


@visit(models.build, three_versions)
async def test_the_update_lock_is_taken_and_given_back(user: User, box: FakeBox) -> None:
    await press(user, "Change no model for an hour")
    assert box.done == [("lock", 3600.0)]
    await user.should_see("No model is changed for another 60 min.", retries=50)

    await press(user, "Allow changes again")
    assert box.done[1:] == [("lock", 0.0)]
    await user.should_see("Change no model for an hour", retries=50)


@visit(models.build, three_versions)
async def test_an_update_is_shown_step_by_step(user: User, box: FakeBox) -> None:
    box.models.say(progress=UpdateProgress("1.4", "It is downloaded.", 0.4, 1, ("waits", "downloads", "checks")))
    await user.should_see("Version 1.4 is on its way", retries=50)
    await user.should_see("It is downloaded.")

    box.models.say(progress=None)
    await user.should_not_see("Version 1.4 is on its way", retries=50)


@visit(models.build)
async def test_why_a_model_was_refused_is_told(user: User, box: FakeBox) -> None:
    box.models.say(
        models=(row("1.3", serves=True), row("1.4", failure="Its outputs are not finite.", failed_when="22 Nov")),
        failures=(("1.5", "The zip holds two models.", "21 Nov"),),
        broken=(("/data/models/x", "model.json is not there"),),
    )

    await user.should_see("Its outputs are not finite.", retries=50)
    await user.should_see("Version 1.5 was refused: The zip holds two models.")
    await user.should_see("model.json is not there")


@visit(models.build, three_versions)
async def test_an_added_model_is_told_of(user: User, box: FakeBox) -> None:
    drop = only(user, FileDrop)
    assert drop.props["url"] == "/api/v1/models", "what a program would use"

    await tell(user, drop, "done", {"good": True, "status": 201})

    await user.should_see("Press Use to have it serve.")


HOSTILE = '"><img src=x onerror=alert(1)>'


@visit(models.build)
async def test_what_models_call_themselves_is_text(user: User, box: FakeBox) -> None:
    box.models.say(models=(row(HOSTILE, categories=(HOSTILE,), origin=HOSTILE),))

    await user.should_see(HOSTILE, retries=50)
    assert user.client is not None
    assert not [each for each in user.client.elements.values() if each.tag in ("img", "nicegui-html")]


@visit(
    models.build,
    lambda box: box.models.say(
        models=(
            row("1.3", serves=True, served=("since 9 Nov, 08:11", "1 Nov, 10:00 to 3 Nov, 14:02")),
            row("1.2", served=("3 Nov, 14:02 to 9 Nov, 08:11",)),
            row("1.1"),
        )
    ),
)
async def test_each_model_tells_when_it_served(user: User, box: FakeBox) -> None:
    await user.should_see("since 9 Nov, 08:11")
    await user.should_see("When it served before")
    await user.should_see("1 Nov, 10:00 to 3 Nov, 14:02")
    await user.should_see("3 Nov, 14:02 to 9 Nov, 08:11")


@visit(models.build)
async def test_how_near_a_model_is_to_its_source_is_told(user: User, box: FakeBox) -> None:
    line = "model_int8.tflite, on 30 pictures: 98.3% of the detections match"
    box.models.say(models=(row("1.3", parity=(line,)), row("1.2")))
    await until(lambda: versions(user) == ["1.3", "1.2"])
    found = [each.text for each in all_of(user, Words)]
    assert found.count("Compared with its source") == 1
    assert line in found
