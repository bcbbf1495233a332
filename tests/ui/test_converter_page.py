"""The page of a converter as its visitor sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nicegui import ui
from nicegui.testing import User

from converter_companion import page, view
from converter_companion.node import Done, Now
from converter_companion.plan import Failure, Task
from converter_companion.report import Comparison, Limits, ParityReport, Side
from converter_companion.view import View
from tests.ui.fake_box import Deeds, Told
from tests.ui.stories import all_of, press, until, visit_of
from ui.kit.feed import Feed

TASK = Task("acme", "bolts", "m1", "1.3", "appliance_pytorch", "litert")
REPORT = ParityReport(
    pictures=100,
    annotated=80,
    threshold=0.4,
    source=Side(
        file="network.pt", runtime="torch", size_bytes=1_390_000, latency_ms=12.34, detections=90, map50=0.9131
    ),
    results=[
        Comparison(
            file="model_int8.tflite",
            quantized=True,
            matched_share=0.987,
            mean_shift_input=0.314,
            mean_score_drift=0.0123,
            result=Side(
                file="model_int8.tflite",
                runtime="litert",
                size_bytes=431_000,
                latency_ms=4.2,
                detections=89,
                map50=0.914,
            ),
        ),
        Comparison(file="model_edgetpu.tflite", quantized=True, not_run="there is no Edge TPU here"),
    ],
    left_out=["There are no weights for the Edge TPU: Internal compiler error"],
    limits=Limits(),
)
FAILURE = Failure(
    reason="The model has no head that can be converted.", file="f", circumstances="c", version="1.2", when=9.0
)
UNFIT = Failure(
    reason="Transformers become no LiteRT. Devices run them as onnx.",
    file="f",
    circumstances="c",
    applies=False,
    version="2.0",
    when=8.0,
)
FAILED_KEY = "acme/bolts/m0/appliance_pytorch/litert"


class FakeConverter:
    """See `converter_companion.page.Watched`."""

    name = "gpu-7"

    def __init__(self) -> None:
        self.deeds = Deeds()
        self.told = Told("converter", View(view.condition(None, 60.0, 0, None, ())))
        self.feed: Feed[View] = self.told.feed

    def say(self, **changes: Any) -> None:
        self.told.value = replace(self.told.value, **changes)

    async def try_again(self, key: str) -> None:
        self.deeds.do("try again", key)
        self.say(failures=())


def of_tag(user: User, *tags: str) -> list[Any]:
    """Elements of HTML, in the order of the page."""
    return [element for element in all_of(user, ui.element) if element.tag in tags]


@visit_of(FakeConverter, page.build)
async def test_a_converter_that_is_idle_says_what_it_waits_for(user: User, converter: FakeConverter) -> None:
    await user.should_see("Idle: everything is converted.")
    await user.should_see("Nothing was converted since the start")
    await user.should_not_see("What cannot be converted")


@visit_of(FakeConverter, page.build)
async def test_what_it_does_now_is_followed(user: User, converter: FakeConverter) -> None:
    now = Now(TASK, 0.42, "calibrating on pictures")
    converter.say(
        condition=view.condition(now, None, 0, None, ()), converting=TASK.words, doing=now.doing, share=now.share
    )
    await user.should_see("Converting version 1.3 of acme/bolts from appliance_pytorch to litert, 42%", retries=50)
    await user.should_see("Calibrating on pictures · 42%")
    assert [bar.props["value"] for bar in of_tag(user, "progress")] == [42]


@visit_of(FakeConverter, page.build)
async def test_a_conversion_shows_how_near_it_is_to_its_source(user: User, converter: FakeConverter) -> None:
    converter.say(recent=view.recent([Done(TASK, 120.0, 95.0, report=REPORT)]))
    await user.should_see("Version 1.3 of acme/bolts from appliance_pytorch to litert", retries=50)
    await user.should_see("Compared on the same 100 pictures, 80 of them annotated.")
    await user.should_see("model_edgetpu.tflite was not compared: there is no Edge TPU here.")
    await user.should_see("There are no weights for the Edge TPU: Internal compiler error.")
    await user.should_see("took 2 min")
    words = [each.text for each in of_tag(user, "th", "td")]
    assert words == [
        *view.COLUMNS,
        *("network.pt (source)", "-", "-", "-", "0.913", "12.3 ms", "1.39 MB"),
        *("model_int8.tflite", "98.7%", "0.31 px", "0.0123", "0.914", "4.2 ms", "0.43 MB"),
    ]


@visit_of(FakeConverter, page.build)
async def test_what_failed_says_why_and_is_tried_again_with_one_tap(user: User, converter: FakeConverter) -> None:
    converter.say(failures=view.failures({FAILED_KEY: FAILURE}))
    await user.should_see("Version 1.2 of acme/bolts from appliance_pytorch to litert", retries=50)
    await user.should_see("The model has no head that can be converted.")

    converter.deeds.refusal = "The disk is full; free some space."
    await press(user, "Try again")
    await user.should_see("The disk is full; free some space.")

    converter.deeds.refusal = None
    await press(user, "Try again")
    assert converter.deeds.done == [("try again", FAILED_KEY)]
    await user.should_see("It is tried again at the next look")
    await user.should_not_see("The model has no head that can be converted.", retries=50)


@visit_of(FakeConverter, page.build)
async def test_what_is_not_for_a_network_stands_apart_and_is_nothing_to_be_mended(
    user: User, converter: FakeConverter
) -> None:
    await user.should_not_see("Not for this network")
    remembered = {f"acme/bolts/m{number}/appliance_pytorch/litert": UNFIT for number in range(2)}
    converter.say(failures=view.failures(remembered), unfit=view.unfit(remembered))
    await user.should_see("Not for this network", retries=50)
    await user.should_see("Transformers become no LiteRT. Devices run them as onnx.")
    await user.should_see("Version 2.0 of acme/bolts from appliance_pytorch to litert")
    await user.should_not_see("What cannot be converted")
    await user.should_not_see("Try again")


@visit_of(FakeConverter, page.build)
async def test_when_the_visitor_goes_the_converter_is_read_no_more(user: User, converter: FakeConverter) -> None:
    await until(lambda: converter.feed.watched)
    assert user.client is not None
    user.client.delete()
    await until(lambda: not converter.feed.watched)


def test_one_sentence_says_how_it_is() -> None:
    assert view.condition(None, None, 0, None, ()).sentence == "Idle: it has not looked at the Loop yet."
    one = view.condition(None, 60.0, 1, "a project cannot be read", ())
    assert "1 conversion does not work" in one.sentence
    assert (one.severity, one.troubles[0].reason) == ("warning", "a project cannot be read")
    assert "3 conversions do not work" in view.condition(None, 60.0, 3, None, ()).sentence


def test_the_newest_failures_come_first_and_they_are_not_too_many() -> None:
    many = {f"acme/bolts/m{number}/a/b": FAILURE.model_copy(update={"when": float(number)}) for number in range(200)}
    shown = view.failures(many)
    assert len(shown) == view.FAILURES
    assert shown[0].key == "acme/bolts/m199/a/b"
    assert view.failures({"odd": FAILURE})[0].title == "odd"


def test_what_is_not_for_a_network_is_told_once_a_reason_and_is_no_failure() -> None:
    other = UNFIT.model_copy(update={"reason": "Poems become no format_b.", "when": 9.0})
    remembered = {"acme/bolts/m1/a/b": UNFIT, "acme/bolts/m2/a/b": UNFIT, "acme/bolts/m3/a/b": other, "x": FAILURE}
    assert [(each.reason, len(each.titles)) for each in view.unfit(remembered)] == [
        (other.reason, 1),
        (UNFIT.reason, 2),
    ]
    assert [each.key for each in view.failures(remembered)] == ["x"]
