"""The page of the outbox as its visitor uses it."""

from __future__ import annotations

from nicegui import ui
from nicegui.testing import User

from tests.ui.fake_box import FakeBox, item
from tests.ui.stories import all_of, button, only, press, press_later, tell, until, visit
from ui.kit.gallery import Gallery
from ui.kit.mode_switch import ModeSwitch
from ui.kit.picture import Picture
from ui.kit.words import Words
from ui.pages import outbox
from ui.ports import LongWork


def sending(user: User) -> ModeSwitch:
    """The switch that starts and stops sending."""
    return all_of(user, ModeSwitch)[0]


def folder(user: User) -> ModeSwitch:
    """The switch between what is shown."""
    return all_of(user, ModeSwitch)[1]


def gallery(user: User) -> Gallery:
    """The pictures."""
    [found] = all_of(user, Gallery)
    return found


def shown(user: User) -> list[str]:
    """Where the small pictures come from."""
    return [str(each.props["src"]) for each in gallery(user).descendants() if each.tag == "img"]


async def pick(user: User, *numbers: int) -> None:
    """Tick pictures by their place on the page."""
    boxes = [each for each in gallery(user).descendants() if each.tag == "input"]
    for number in numbers:
        await tell(user, boxes[number], "change", True)


def sixty_wait(box: FakeBox) -> None:
    box.outbox.put(*(item(number) for number in range(60)))
    box.outbox.put(item(100, "rejected", answer="422: no such project"))


@visit(outbox.build)
async def test_sending_is_stopped_and_started(user: User, box: FakeBox) -> None:
    assert sending(user).value == "continuous_upload"

    await tell(user, sending(user), "choose", "stopped")
    assert box.done == [("outbox mode", "stopped")]

    await box.outbox.set_mode("continuous_upload")  # curl
    await until(lambda: sending(user).value == "continuous_upload")


@visit(outbox.build)
async def test_an_empty_outbox_says_what_comes_here(user: User, box: FakeBox) -> None:
    await user.should_see("Nothing waits. Pictures that the model was unsure of")


@visit(outbox.build, sixty_wait)
async def test_pictures_are_shown_a_page_at_a_time(user: User, box: FakeBox) -> None:
    await user.should_see("1 to 24 of 60, newest first")
    first = shown(user)
    assert len(first) == 24

    await press(user, "More")
    await user.should_see("25 to 48 of 60, newest first")
    assert not set(first) & set(shown(user))

    await press(user, "More")
    assert len(shown(user)) == 12
    await press(user, "More")  # there is no more
    assert len(shown(user)) == 12

    await press(user, "Back")
    await press(user, "Back")
    assert shown(user) == first


@visit(outbox.build, sixty_wait)
async def test_what_comes_meanwhile_is_shown_without_a_reload(user: User, box: FakeBox) -> None:
    def after(element: ui.element) -> list[int]:
        return [each.id for each in element.descendants()]

    second = gallery(user).default_slot.children[1]
    before = after(second)
    box.outbox.items.insert(0, item(200))
    box.outbox._count()

    await user.should_see("1 to 24 of 61, newest first", retries=50)
    assert shown(user)[0].endswith(item(200).id)
    assert len(shown(user)) == 24
    assert after(second) == before, "what was there stays as it is, under the finger or the focus"


@visit(outbox.build, sixty_wait)
async def test_rejected_pictures_show_what_the_loop_said_and_can_be_sent_again(user: User, box: FakeBox) -> None:
    await tell(user, folder(user), "choose", "rejected")
    await user.should_see("422: no such project")

    await pick(user, 0)
    await press(user, "Send again")

    assert box.done == [("retry", (item(100).id,))]
    await user.should_see("1 picture will be sent again.")
    await user.should_see("The Learning Loop has rejected nothing.", retries=50)


@visit(outbox.build, sixty_wait)
async def test_waiting_pictures_can_be_sent_first(user: User, box: FakeBox) -> None:
    await pick(user, 0, 2)
    await user.should_see("2 picked")

    await press(user, "Send first")

    assert box.done == [("prioritise", (item(0).id, item(2).id))]
    await user.should_not_see("2 picked")
    assert not any(each.props.get("checked") for each in gallery(user).descendants() if each.tag == "input")


@visit(outbox.build, sixty_wait)
async def test_deleting_asks_first_for_it_cannot_be_undone(user: User, box: FakeBox) -> None:
    await press(user, "Pick all on this page")
    pressed = press_later(user, "Delete")
    await user.should_see("Delete 24 pictures?", retries=50)
    await press(user, "Cancel")
    await pressed
    assert box.done == []
    await user.should_see("24 picked")

    pressed = press_later(user, "Delete")
    await user.should_see("Delete 24 pictures?", retries=50)
    await press(user, "Delete", 1)
    await pressed

    [(deed, ids)] = box.done
    assert (deed, len(ids)) == ("delete", 24)
    await user.should_see("1 to 24 of 36, newest first", retries=50)


def save(user: User) -> tuple[str, str]:
    """What the link says that saves a zip, and where it leads."""
    [found] = [each for each in all_of(user, Words) if "as a zip" in each.text]
    return str(found.text), str(found.props["href"])


@visit(outbox.build, sixty_wait)
async def test_all_or_what_is_picked_is_saved_as_a_zip(user: User, box: FakeBox) -> None:
    assert save(user) == ("Save all 60 as a zip (10.8 MB)", "/api/v1/outbox/export?folder=normal")

    await pick(user, 0, 1)
    assert save(user) == (
        "Save 2 picked as a zip (360 kB)",
        f"/api/v1/outbox/export?id={item(0).id}&id={item(1).id}",
    )

    await tell(user, folder(user), "choose", "rejected")
    assert save(user) == ("Save all 1 as a zip (180 kB)", "/api/v1/outbox/export?folder=rejected")

    await tell(user, folder(user), "choose", "priority")
    await user.should_not_see("as a zip")


@visit(outbox.build, sixty_wait)
async def test_a_whole_folder_is_deleted_after_one_question_and_shows_how_far_it_is(user: User, box: FakeBox) -> None:
    pressed = press_later(user, "Delete all 60")
    await user.should_see("Delete all 60 pictures under “waiting”?", retries=50)
    await user.should_see("10.8 MB are deleted.")
    await press(user, "Delete all")
    await pressed
    assert box.done == [("delete all", "normal")]

    work = LongWork(1, "delete", 25, 60)
    box.outbox.say(work=work)
    await user.should_see("Deleting: 25 of 60", retries=50)

    box.outbox.items = [each for each in box.outbox.items if each.folder == "rejected"]
    box.outbox.say(work=work.ended(60, None))
    box.outbox._count()
    await user.should_see("60 pictures deleted.", retries=50)
    await user.should_not_see("Deleting:")
    await user.should_see("Nothing waits.")


@visit(outbox.build, sixty_wait)
async def test_what_ends_early_says_why(user: User, box: FakeBox) -> None:
    work = LongWork(1, "retry", 0, 100)
    box.outbox.say(work=work)
    await user.should_see("Putting back what was rejected: 0 of 100", retries=50)

    box.outbox.say(work=work.ended(7, "The disk is full."))

    await user.should_see("The disk is full.", retries=50)
    await user.should_see("7 pictures will be sent again.")


@visit(outbox.build, sixty_wait)
async def test_all_rejected_are_sent_again(user: User, box: FakeBox) -> None:
    box.outbox.put(item(101, "rejected"))
    await tell(user, folder(user), "choose", "rejected")
    await press(user, "Send all 2 again")
    assert box.done == [("retry all",)]

    box.deeds.refusal = "The work before is not done yet."
    await press(user, "Send all 2 again")
    await user.should_see("The work before is not done yet.")


@visit(outbox.build, lambda box: box.outbox.say(work=LongWork(3, "delete", 9, 9, running=False)))
async def test_what_was_done_before_one_came_is_not_told_anew(user: User, box: FakeBox) -> None:
    box.outbox.say(normal=1)
    await user.should_not_see("9 pictures deleted")


@visit(outbox.build, sixty_wait)
async def test_what_cannot_be_done_says_why(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "The disk does not let pictures be moved."
    await pick(user, 0)

    await press(user, "Send first")

    await user.should_see("The disk does not let pictures be moved.")


@visit(outbox.build, sixty_wait)
async def test_a_picture_is_opened_with_what_was_found_in_it_and_why_it_is_here(user: User, box: FakeBox) -> None:
    opener = next(each for each in gallery(user).descendants() if "show" in each.classes)

    await tell(user, opener, "click", {})

    await user.should_see("the model was unsure of something new in it", retries=50)
    [picture] = all_of(user, Picture)
    assert [mark["words"] for mark in picture.props["marks"]] == ["cat 41%"]
    dialog = only(user, ui.dialog)
    assert dialog.value
    await press(user, "Close")
    assert not dialog.value


@visit(outbox.build, sixty_wait)
async def test_a_picture_that_was_sent_meanwhile_is_no_error(user: User, box: FakeBox) -> None:
    opener = next(each for each in gallery(user).descendants() if "show" in each.classes)
    box.outbox.items.clear()

    await tell(user, opener, "click", {})

    await user.should_see("It is not there any more", retries=50)


@visit(outbox.build)
async def test_the_last_error_is_told_in_words(user: User, box: FakeBox) -> None:
    box.outbox.say(last_error="loop.example.org refuses the connection.")

    await user.should_see("loop.example.org refuses the connection.", retries=50)

    box.outbox.say(last_error=None)
    await user.should_not_see("loop.example.org refuses the connection.", retries=50)


@visit(outbox.build, sixty_wait)
async def test_two_visitors_see_the_same(user: User, box: FakeBox) -> None:
    other = User(user.http_client)
    await other.open("/")

    await box.outbox.set_mode("stopped")

    await until(lambda: sending(user).value == sending(other).value == "stopped")
    assert button(user, "More").text == button(other, "More").text
