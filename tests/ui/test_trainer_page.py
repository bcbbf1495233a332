"""The page of a trainer as its visitor sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nicegui import ui
from nicegui.testing import User

from companions.condition import Condition, Trouble
from tests.ui.fake_box import Deeds, Told
from tests.ui.stories import all_of, button, only, press, press_later, until, visit_of
from trainer_companion import page
from trainer_companion.progress import Confusion
from trainer_companion.view import Curve, Row, Shown, View
from ui.kit.chart import Chart
from ui.kit.feed import Feed
from ui.kit.marks import Mark
from ui.kit.picture import Picture

IDLE = View(Condition("Idle: trainings are begun in the Loop."))
TRAINING = View(
    Condition("Training 7 of acme/bolts: training, 40%"),
    name="training 7 of acme/bolts",
    step=2,
    doing="training",
    share=0.4,
    left="about 12 min left",
    can_stop=True,
    can_abort=True,
    curve=Curve((2.0, 1.5, 1.234), (None, 40.0, 60.0), "epoch 0", "epoch 12"),
    numbers=(("Best mAP50", "0.913", "epoch 9"), ("Graphics memory", "11.3 GB", "")),
    rows=(Row("bolt", Confusion(tp=8, fp=2, fn=8)), Row("nut", Confusion(fn=3))),
    pictures=(Shown("/pictures/samples/run/0", 640, 480, (Mark("bolt", 0.93, box=(1, 2, 30, 40)),), 2),),
    sight="epoch 9",
    warnings=("Out of memory with 8 pictures a step; it goes on with 4.",),
    lines=("first words", "last words"),
)


class FakeTrainer:
    """See `trainer_companion.page.Watched`."""

    name = "gpu-7"

    def __init__(self, view: View) -> None:
        self.deeds = Deeds()
        self.told = Told("trainer", view)
        self.feed: Feed[View] = self.told.feed

    async def stop(self) -> None:
        self.deeds.do("stop")

    async def abort(self) -> None:
        self.deeds.do("abort")


def trainer_with(view: View) -> Callable[[], FakeTrainer]:
    return lambda: FakeTrainer(view)


def of_tag(user: User, *tags: str) -> list[Any]:
    """Elements of HTML, in the order of the page."""
    return [element for element in all_of(user, ui.element) if element.tag in tags]


@visit_of(trainer_with(IDLE), page.build)
async def test_one_that_is_idle_says_how_a_training_begins(user: User, trainer: FakeTrainer) -> None:
    await user.should_see("Idle: trainings are begun in the Loop.")
    await user.should_see("One is begun in the Learning Loop.")
    await user.should_not_see("Stop and keep the model")
    await user.should_not_see("How it learns")

    trainer.told.value = TRAINING

    await user.should_see("Stop and keep the model", retries=50)
    await user.should_not_see("One is begun in the Learning Loop.", retries=50)


@visit_of(trainer_with(TRAINING), page.build)
async def test_a_training_is_shown_with_its_step_and_how_far_it_is(user: User, trainer: FakeTrainer) -> None:
    await user.should_see("Training 7 of acme/bolts")
    await user.should_see("Training · 40% · about 12 min left")
    bars = of_tag(user, "progress")
    assert [bar.props.get("value") for bar in bars] == [40.0]
    assert [each.text for each in of_tag(user, "span") if each.props.get("aria-current") == "step"] == ["Training"]

    trainer.told.value = replace(TRAINING, step=4, doing="uploading the model", share=None, left="", can_stop=False)

    await user.should_see("Uploading the model", retries=50)
    assert "value" not in bars[0].props, "how far it is is not known"
    assert button(user, "Stop and keep the model").props.get("disabled")
    assert not button(user, "Abort").props.get("disabled")


@visit_of(trainer_with(TRAINING), page.build)
async def test_how_well_it_learns_is_shown(user: User, trainer: FakeTrainer) -> None:
    loss, map50 = all_of(user, Chart)
    assert loss.props["series"] == [{"name": "Loss", "values": [2.0, 1.5, 1.23]}]
    assert map50.props["series"] == [{"name": "mAP50", "values": [None, 40.0, 60.0]}]
    assert loss.props["ends"] == ["epoch 0", "epoch 12"]
    await user.should_see("11.3 GB")
    await user.should_see("Out of memory with 8 pictures a step")
    await user.should_see("last words\nfirst words")
    words = [element.text for element in of_tag(user, "th", "td")]
    assert words[6:] == ["bolt", "8", "2", "8", "80%", "50%", "nut", "0", "0", "3", "-", "0%"]

    trainer.told.value = replace(TRAINING, rows=(Row("bolt", Confusion(tp=9, fp=1, fn=1)),), numbers=())

    await user.should_see("90%", retries=50)
    await user.should_not_see("11.3 GB", retries=50)


@visit_of(trainer_with(TRAINING), page.build)
async def test_pictures_are_shown_with_what_the_best_model_finds_in_them(user: User, trainer: FakeTrainer) -> None:
    picture = only(user, Picture)
    assert picture.props["src"] == "/pictures/samples/run/0"
    assert [mark["words"] for mark in picture.props["marks"]] == ["bolt 93%"]
    await user.should_see("1 found, 2 marked by people")
    await user.should_see("epoch 9")

    better = replace(TRAINING.pictures[0], marks=(*TRAINING.pictures[0].marks, Mark("nut", 0.6, box=(5, 5, 9, 9))))
    trainer.told.value = replace(TRAINING, pictures=(better,), sight="epoch 11")

    await user.should_see("2 found, 2 marked by people", retries=50)
    assert only(user, Picture) is picture, "what is looked at stays in its place"


@visit_of(trainer_with(TRAINING), page.build)
async def test_what_classifies_pictures_is_shown_with_its_accuracy_and_classes(
    user: User, trainer: FakeTrainer
) -> None:
    whole = Shown("/pictures/samples/run/0", 640, 480, (Mark("rusty", 0.93),), 1, "clean")
    curve = Curve((2.0, 1.5, 1.2), (None, None, None), "epoch 0", "epoch 12", (None, 40.0, 90.0))
    trainer.told.value = replace(TRAINING, curve=curve, pictures=(whole,))

    await user.should_see("People say clean", retries=50)
    assert [(mark["kind"], mark["words"]) for mark in only(user, Picture).props["marks"]] == [("whole", "rusty 93%")]
    _, good = all_of(user, Chart)
    assert good.props["series"] == [{"name": "Accuracy", "values": [None, 40.0, 90.0]}]
    assert good.props["label"] == "Accuracy on pictures held out"


@visit_of(trainer_with(TRAINING), page.build)
async def test_a_training_is_stopped_at_once(user: User, trainer: FakeTrainer) -> None:
    await press(user, "Stop and keep the model")
    assert trainer.deeds.done == [("stop",)]
    await user.should_see("Its best model is uploaded.")


@visit_of(trainer_with(TRAINING), page.build)
async def test_a_training_is_thrown_away_only_after_a_question(user: User, trainer: FakeTrainer) -> None:
    pressed = press_later(user, "Abort")
    await user.should_see("Abort training 7 of acme/bolts?", retries=50)
    await press(user, "Cancel")
    await pressed
    assert trainer.deeds.done == []

    pressed = press_later(user, "Abort")
    await user.should_see("Throw it away", retries=50)
    await press(user, "Throw it away")
    await pressed
    assert trainer.deeds.done == [("abort",)]


@visit_of(trainer_with(TRAINING), page.build)
async def test_what_the_disk_refuses_is_told_beside_the_buttons(user: User, trainer: FakeTrainer) -> None:
    trainer.deeds.refusal = "The disk is full; free some space."
    await press(user, "Stop and keep the model")
    await user.should_see("The disk is full; free some space.")
    await user.should_not_see("Its best model is uploaded.")


@visit_of(trainer_with(IDLE), page.build)
async def test_what_is_wrong_stands_on_top_with_the_way_out(user: User, trainer: FakeTrainer) -> None:
    trouble = Trouble("warning", "The pictures cannot be downloaded: no answer.", "It is tried again.")
    trainer.told.value = replace(TRAINING, condition=Condition("Training 7: waiting", (trouble,)))
    await user.should_see("The pictures cannot be downloaded: no answer.", retries=50)
    await user.should_see("It is tried again.")
    await user.should_see("Warning: ")


@visit_of(trainer_with(TRAINING), page.build)
async def test_when_the_visitor_goes_nothing_is_read_any_more(user: User, trainer: FakeTrainer) -> None:
    await until(lambda: trainer.feed.watched)
    assert user.client is not None
    user.client.delete()
    await until(lambda: not trainer.feed.watched)
