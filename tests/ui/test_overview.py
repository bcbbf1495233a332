"""The overview as its visitor sees it."""

from __future__ import annotations

import asyncio
import time

from nicegui import ui
from nicegui.testing import User

from tests.ui.fake_box import FakeBox
from tests.ui.stories import all_of, press, until, visit
from ui.kit.chart import Chart
from ui.kit.marks import Mark
from ui.kit.picture import Picture
from ui.kit.presence import Presence
from ui.pages import overview
from ui.ports import CameraSight, Condition, Readings, Sight, Trouble

REFUSED = Trouble("error", "192.168.4.23 was turned away 7 times.", "Trust it.", network="192.168.4.0/24")


def sight(key: str, *found: Mark) -> Sight:
    """A picture of a camera."""
    return Sight(key, f"/pictures/seen/camera/{key}", 640, 480, found)


def seen(camera: str, key: str, *found: Mark) -> CameraSight:
    """The latest of a camera."""
    return CameraSight(camera, sight(key, *found), time.time(), camera)


@visit(overview.build)
async def test_one_sentence_tells_how_the_box_is_and_follows_it(user: User, box: FakeBox) -> None:
    await user.should_see("Detecting with model 1.3 on Edge TPU · 24 pictures/s")

    box.said.value = Condition("Not detecting", (Trouble("error", "No model is loaded.", "Add one.", "/models"),))

    await user.should_see("Not detecting", retries=50)
    await user.should_see("No model is loaded.", retries=50)
    await user.should_see("Go to Models")

    box.said.value = Condition("Detecting again")
    await user.should_see("Detecting again", retries=50)
    await user.should_not_see("No model is loaded.", retries=50)


def refuse_a_robot(box: FakeBox) -> None:
    box.said.value = Condition("Detecting", (REFUSED,))


@visit(overview.build, refuse_a_robot)
async def test_a_refused_robot_is_let_in_with_one_tap_and_that_can_be_undone(user: User, box: FakeBox) -> None:
    await press(user, "Trust 192.168.4.0/24")
    assert box.done == [("trust", "192.168.4.0/24")]
    await user.should_see("Everybody in 192.168.4.0/24 may do everything now.")

    await press(user, "Undo")
    assert box.done[1:] == [("distrust", "192.168.4.0/24")]
    await user.should_not_see("may do everything now.")


@visit(overview.build, refuse_a_robot)
async def test_trust_that_cannot_be_given_says_why_beside_the_button(user: User, box: FakeBox) -> None:
    box.deeds.refusal = "trusted_networks is set by the environment TRUSTED_NETWORKS: change it there."

    await press(user, "Trust 192.168.4.0/24")

    await user.should_see("change it there.")
    await user.should_not_see("Undo")


def two_cameras(box: FakeBox) -> None:
    box.seeing.told.value = (seen("front", "1", Mark("cat", 0.87, (1, 2, 3, 4))), seen("rear", "2"))


@visit(overview.build, two_cameras)
async def test_the_cameras_are_shown_with_what_they_see(user: User, box: FakeBox) -> None:
    await user.should_see("front")
    await user.should_see("rear")
    await user.should_see("Nothing found")
    front = all_of(user, Picture)[0]
    assert front.props["src"] == "/pictures/seen/camera/1"
    assert front.props["alt"] == "Latest picture of camera front with cat 87%"
    assert [mark["words"] for mark in front.props["marks"]] == ["cat 87%"]


@visit(overview.build, two_cameras)
async def test_a_slow_phone_gets_fewer_pictures_and_never_a_queue(user: User, box: FakeBox) -> None:
    front = all_of(user, Picture)[0]
    shown: list[str] = []

    async def next_picture(key: str) -> None:
        box.seeing.told.value = (seen("front", key), seen("rear", "2"))
        await until(lambda: front.props["src"] == f"/pictures/seen/camera/{key}")

    await next_picture("3")  # on its way to the phone: nothing follows before it has arrived
    for key in ("4", "5", "6"):
        box.seeing.told.value = (seen("front", key), seen("rear", "2"))
        await asyncio.sleep(0.1)
        shown.append(front.props["src"])
    assert set(shown) == {"/pictures/seen/camera/3"}

    user.find(Picture).trigger("shown", "/pictures/seen/camera/3")
    await until(lambda: front.props["src"] == "/pictures/seen/camera/6")


@visit(overview.build)
async def test_without_cameras_there_is_a_way_on(user: User, box: FakeBox) -> None:
    await user.should_see("No camera has sent a picture yet")
    await user.should_see("Try a picture of your own")


@visit(overview.build)
async def test_charts_follow_the_readings(user: User, box: FakeBox) -> None:
    box.measured.value = Readings(
        rate=(None, 23.456), latency=(("wait", (1.0, 2.0)), ("inference", (10.0, 11.0))), pictures=12345
    )

    await user.should_see("12\u202f345", retries=50)
    charts = {chart.props["label"]: chart for chart in all_of(user, Chart)}
    assert charts["Rate"].props["series"] == [{"name": "Pictures", "values": [None, 23.46]}]
    assert [one["name"] for one in charts["Time for a picture"].props["series"]] == ["wait", "inference"]
    assert {"Temperature", "Accelerator"}.isdisjoint(charts), "this machine tells none"

    box.measured.value = Readings(accelerator=(None, 43.7), accelerator_temperature=(None, 51.0), pictures=7)

    await user.should_see(Chart, retries=50)
    await until(lambda: "Accelerator" in {chart.props["label"] for chart in all_of(user, Chart)})
    charts = {chart.props["label"]: chart for chart in all_of(user, Chart)}
    assert charts["Accelerator"].props["series"] == [{"name": "In use", "values": [None, 43.7]}]
    assert charts["Temperature"].props["series"] == [{"name": "Accelerator", "values": [None, 51.0]}]


@visit(overview.build)
async def test_when_the_visitor_goes_nothing_is_read_any_more(user: User, box: FakeBox) -> None:
    feeds = (box.condition, box.readings, box.seeing.recent)
    await until(lambda: all(feed.watched for feed in feeds))
    assert user.client is not None

    user.client.delete()

    await until(lambda: not any(feed.watched for feed in feeds))


@visit(overview.build)
async def test_while_the_visitor_is_cut_off_nothing_is_read_and_who_is_back_sees_the_newest(
    user: User, box: FakeBox
) -> None:
    feeds, client = (box.condition, box.readings, box.seeing.recent), user.client
    await until(lambda: all(feed.watched for feed in feeds))
    assert client is not None
    [(connection, document)] = client._socket_to_document_id.items()
    tab = str(client.tab_id)

    client.handle_disconnect(connection)
    await until(lambda: not any(feed.watched for feed in feeds))

    box.said.value = Condition("Detecting again")
    await client.handle_handshake("the second", tab, None, document, None)
    await user.should_see("Detecting again", retries=50)

    await client.handle_handshake("the third", tab, None, document, None)
    client.handle_disconnect("the second")
    await asyncio.sleep(0.05)
    assert all(feed.watched for feed in feeds), "the visitor is back before the old connection is given up"


@visit(overview.build)
async def test_while_the_page_is_put_away_nothing_is_read_and_who_looks_again_sees_the_newest(
    user: User, box: FakeBox
) -> None:
    feeds = (box.condition, box.readings, box.seeing.recent)
    await until(lambda: all(feed.watched for feed in feeds))

    user.find(Presence).trigger("looking", False)
    await until(lambda: not any(feed.watched for feed in feeds))
    box.said.value = Condition("Detecting again")
    await asyncio.sleep(0.05)
    await user.should_not_see("Detecting again")

    user.find(Presence).trigger("looking", True)
    await until(lambda: all(feed.watched for feed in feeds))
    await user.should_see("Detecting again", retries=50)


@visit(overview.build)
async def test_a_page_that_is_cut_off_behind_others_is_not_read_for_when_it_is_back_there(
    user: User, box: FakeBox
) -> None:
    client = user.client
    await until(lambda: box.readings.watched)
    assert client is not None
    [(connection, document)] = client._socket_to_document_id.items()
    user.find(Presence).trigger("looking", False)
    client.handle_disconnect(connection)
    await client.handle_handshake("the second", str(client.tab_id), None, document, None)
    await asyncio.sleep(0.05)
    assert not box.readings.watched


@visit(overview.build)
async def test_the_way_to_every_page_is_named(user: User, box: FakeBox) -> None:
    links = {element.props.get("href") for element in user.find(ui.element).elements if element.tag == "a"}
    assert {"/", "/live", "/models", "/outbox", "#content"} <= links
