"""What passes between a trainer and a Loop, as learning-loop-node 0.27's trainers do it, with the Loop's side played here."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path
from typing import Any

import pytest

from tests.service.trainer.hand_made_loop import BASE, BOLT, DETAILS, IMAGES, MODEL, HandMadeLoop, hand_made
from tests.service.trainer.trainers import until
from trainer_companion import node, walking
from trainer_companion.node import Trainer

SUCCESS = {"success": True, "error_msg": None, "payload": None}


async def over(trainer: Trainer) -> None:
    await until(lambda: trainer.run is None, f"the end of the training; errors: {trainer.errors}")


def test_every_state_is_told_with_what_belongs_to_it_and_requests_come_in_their_order(tmp_path: Path) -> None:
    told_by: list[Trainer] = []

    fail_once = {"detecting": "GET models"}
    loops: list[HandMadeLoop] = []

    async def tell() -> None:
        if not told_by:
            return
        if kind := fail_once.pop(told_by[0].state, None):
            loops[0].busy[kind] += 1
        await told_by[0].tell_now()

    def take_metrics() -> dict[str, Any]:
        """Only once it is known that the training is over, and has failed to tell them."""
        is_refused = "training_finished" not in loops[0].states()
        return {"success": not is_refused, "error_msg": "not now" if is_refused else None}

    async def telling_sleep(seconds: float) -> None:
        await tell()
        await asyncio.sleep(min(seconds, 0.05))

    async def story() -> None:
        options = ("--epochs", "3", "--pause", "1", "--crash-after", "1")
        async with hand_made(tmp_path, *options, sleep=telling_sleep) as (loop, trainer):
            idle = loop.heard("update_trainer")[-1][0]
            assert idle == {
                "id": trainer.id,
                "name": "by hand",
                "state": "idle",
                "uptime": None,
                "errors": {},
                "progress": None,
                "pretrained_models": [{"name": "small", "label": "Small", "description": "a small network"}],
                "architecture": "appliance",
                "context": None,
            }
            told_by.append(trainer)
            loops.append(loop)
            loop.before_answer = tell
            # Each stage fails once, so that the Loop sees the state in which it waits for the next try, too.
            loop.busy.update({"GET data": 1, "GET models": 1, "PUT trainings": 1, "POST detections": 1})
            loop.acknowledgements["update_training"] = [take_metrics] * 1000
            assert await loop.call("begin_training", "acme", "cups", DETAILS) == SUCCESS
            await over(trainer)
            await until(lambda: loop.states()[-1] == "idle", "the loop knows that it is idle")
            _check_states(loop)
            _check_requests(loop)
            _check_metrics(loop, trainer)

    asyncio.run(story())


RESTING = {
    "initialized": ("prepare", "not now"),
    "data_downloaded": ("download_model", "not now"),
    "train_model_downloaded": ("run_training", "signal 9"),
    "training_finished": ("sync_confusion_matrix", "not now"),
    "confusion_matrix_synced": ("upload_model", "not now"),
    "train_model_uploaded": ("detecting", "not now"),
    "detected": ("upload_detections", "not now"),
}
"""What the Loop sees while a stage waits for its next try -> whose error it is told, and a word of it."""


def _check_states(loop: HandMadeLoop) -> None:
    assert [state for state in loop.states() if state not in RESTING] == [
        "idle",
        "data_downloading",
        "data_downloading",
        "train_model_downloading",
        "train_model_downloading",
        "running",
        "running",
        "confusion_matrix_syncing",
        "confusion_matrix_syncing",
        "train_model_uploading",
        "train_model_uploading",
        "detecting",
        "detecting",
        "detection_uploading",
        "detection_uploading",
        "ready_for_cleanup",
        "idle",
    ]
    statuses = [arguments[0] for arguments in loop.heard("update_trainer")]
    for state, (key, words) in RESTING.items():
        errors = [status["errors"] for status in statuses if status["state"] == state]
        assert errors, f"{state} was never told"
        assert all(words in each[key] for each in errors), state
        others = {name for each in errors for name in each} - {key}
        assert others <= ({"sync_confusion_matrix"} if state == "train_model_downloaded" else set()), state
    for status in statuses:
        if status["state"] != "idle":
            assert status["context"] == {"organization": "acme", "project": "cups"}
            assert status["uptime"] >= 0
    assert {status["architecture"] for status in statuses if status["state"] == "detecting"} == {"fake"}
    assert {(*status["errors"],) for status in statuses if status["state"] == "running"} >= {("sync_confusion_matrix",)}
    running = [status["progress"] for status in statuses if status["state"] == "running"]
    assert running[0] is None
    assert {0.67} <= {round(share, 2) for share in running if share is not None} <= {0.33, 0.67, 1.0}
    for state in ("data_downloading", "detecting"):
        shares = [status["progress"] for status in statuses if status["state"] == state]
        assert any(shares), f"how far {state} is was never told"
        assert all(share is None or 0 <= share <= 1 for share in shares)


def _check_requests(loop: HandMadeLoop) -> None:
    asked = [each for each in loop.asked if "/main" not in each]
    assert asked == [
        "GET data?state=complete",
        "GET data?state=complete",
        f"GET images?ids={','.join(IMAGES[:3])}",
        f"GET models/{BASE}/appliance_pytorch/file",
        f"GET models/{BASE}/appliance_pytorch/file",
        "PUT trainings/7/models/latest/appliance_pytorch/file",
        "PUT trainings/7/models/latest/appliance_pytorch/file",
        "PUT trainings/7/models/latest/onnx/file",
        f"GET models/{MODEL}/appliance_pytorch/file",
        f"GET models/{MODEL}/appliance_pytorch/file",
        "GET data?state=inbox",
        "GET data?state=annotate",
        "GET data?state=review",
        "GET data?state=complete",
        "POST detections",
        "POST detections",
    ]
    pictures = [each for each in loop.asked if "/main" in each]
    assert sorted(pictures) == sorted(f"GET images/{id}/main" for id in IMAGES), "each is fetched once"


def _check_metrics(loop: HandMadeLoop, trainer: Trainer) -> None:
    last = loop.heard("update_training")[-1]
    assert last == (
        "acme",
        "cups",
        {
            "trainer_id": trainer.id,
            "trainer_name": "by hand",
            "confusion_matrix": {BOLT: {"tp": 3, "fp": 1, "fn": 2}},
            "train_image_count": 2,
            "test_image_count": 1,
            "hyperparameters": {"epochs": 3, "batch_size": 4},
            "best_epoch": 3,
        },
    )


@pytest.mark.parametrize(
    ("acknowledgement", "words"),
    [
        ({"success": False, "error_msg": "there is no training 7"}, "there is no training 7"),
        ({"success": False}, "no reason given"),
        (None, "no reason given"),
        ("yes", "'yes'"),
    ],
    ids=["refused", "refused silently", "nothing", "no dict"],
)
def test_metrics_that_the_loop_does_not_take_are_an_error_and_told_again(
    tmp_path: Path, acknowledgement: Any, words: str
) -> None:
    async def story() -> None:
        async with hand_made(tmp_path, "--epochs", "1") as (loop, trainer):
            loop.acknowledgements["update_training"] = [acknowledgement] * 2
            seen: list[tuple[str, str]] = []

            async def look() -> None:
                if "sync_confusion_matrix" in trainer.errors:
                    seen.append((trainer.state, trainer.errors["sync_confusion_matrix"]))

            loop.before_answer = look
            assert (await loop.call("begin_training", "acme", "cups", DETAILS))["success"]
            await over(trainer)
            assert len(loop.heard("update_training")) == 3
            assert {state for state, _ in seen} <= {"running", "confusion_matrix_syncing"}
            assert len(seen) == 2, "while it is told for the second and the third time"
            assert all(words in error for _, error in seen)
            assert trainer.last is not None
            assert (trainer.last.outcome, trainer.last.errors) == ("finished", {})

    asyncio.run(story())


def test_metrics_that_are_never_acknowledged_are_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "METRICS_WITHIN_S", 1.5)

    async def story() -> None:
        async with hand_made(tmp_path, "--epochs", "1") as (loop, trainer):

            async def slowly() -> None:
                if len(loop.heard("update_training")) == 1:
                    await asyncio.sleep(3.0)

            assert (await loop.call("begin_training", "acme", "cups", DETAILS))["success"]
            await until(lambda: trainer.state in ("running", "confusion_matrix_syncing"))
            loop.before_answer = slowly
            await over(trainer)
            assert len(loop.heard("update_training")) == 2
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"

    asyncio.run(story())


def test_a_status_that_the_loop_does_not_take_makes_the_connection_anew(tmp_path: Path) -> None:
    async def story() -> None:
        async with hand_made(tmp_path) as (loop, trainer):
            loop.acknowledgements["update_trainer"] = [{"success": False, "error_msg": "who are you?"}]
            await trainer.connection.switch(False)
            before = len(loop.sockets.connected)
            await trainer.connection.switch(True)
            await until(lambda: len(loop.sockets.connected) == before + 2, "it hangs up, and connects once more")
            await until(lambda: trainer.connection.is_connected)
            assert loop.acknowledgements["update_trainer"] == []

    asyncio.run(story())


def test_a_status_that_is_not_acknowledged_makes_the_connection_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with hand_made(tmp_path) as (loop, trainer):
            monkeypatch.setattr(node, "STATUS_WITHIN_S", 0.2)
            await trainer.connection.switch(False)
            before = len(loop.sockets.connected)
            loop.silent = True
            await trainer.connection.switch(True)
            await until(lambda: len(loop.sockets.connected) > before, "it connects")
            await until(lambda: len(loop.sockets.gone) > before, "it hangs up")
            loop.silent = False
            await until(lambda: trainer.connection.is_connected, "it comes back")

    asyncio.run(story())


def test_the_loop_is_told_when_the_slot_is_taken_and_when_it_is_free_again(tmp_path: Path) -> None:
    lock = tmp_path / "slot"

    async def story() -> None:
        async with hand_made(tmp_path, training_slot_lock=lock) as (loop, trainer):
            with lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                print("somebody else", end="", file=file, flush=True)
                await trainer.tell_now()
                blocked = loop.heard("update_trainer")[-1][0]
                assert (blocked["state"], blocked["context"], blocked["errors"]) == ("blocked", None, {})
                answer = await loop.call("begin_training", "acme", "cups", DETAILS)
                assert (answer["success"], answer["payload"]) == (False, "refused")
                assert "somebody else" in answer["error_msg"]
            await trainer.tell_now()
            assert loop.states() == ["idle", "blocked", "idle"]
            assert not loop.asked, "nothing began"

    asyncio.run(story())


def test_an_empty_acknowledgement_of_the_status_is_good_enough(tmp_path: Path) -> None:
    async def story() -> None:
        async with hand_made(tmp_path) as (loop, trainer):
            loop.acknowledgements["update_trainer"] = [None]
            assert await trainer.beat()
            assert loop.acknowledgements["update_trainer"] == []

    asyncio.run(story())


def test_what_a_trainer_answers(tmp_path: Path) -> None:
    async def story() -> None:
        async with hand_made(tmp_path, "--epochs", "9", "--pause", "60") as (loop, trainer):
            assert await loop.call("stop_training") == SUCCESS, "nothing runs, and nothing happens"
            assert await loop.call("abort_training") == SUCCESS
            assert trainer.state == "idle"
            for key in ("categories", "hyperparameters", "training_number", "model_variant"):
                details = {name: value for name, value in DETAILS.items() if name != key}
                answer = await loop.call("begin_training", "acme", "cups", details)
                assert (answer["success"], answer["payload"]) == (False, None)
                assert key in answer["error_msg"]
            for arguments in ((), ("acme",), ("acme", "cups"), ("acme", "cups", "now"), (1, 2, DETAILS)):
                answer = await loop.call("begin_training", *arguments)
                assert answer["success"] is False
                assert "the training cannot begin" in answer["error_msg"]
            assert trainer.state == "idle"

            assert await loop.call("begin_training", "acme", "cups", DETAILS) == SUCCESS
            busy = await loop.call("begin_training", "acme", "cups", DETAILS)
            assert (busy["success"], busy["payload"]) == (False, "refused")
            assert "training 7 of acme/cups" in busy["error_msg"]
            await until(lambda: trainer.state == "running")
            assert await loop.call("abort_training") == SUCCESS
            assert trainer.state == "idle", "it is gone when that is answered"
            assert await loop.call("restart") is None
            assert loop.heard("restarting") == [()]

    asyncio.run(story())


@pytest.mark.parametrize("base", [None, "", "from scratch", "1.0"])
def test_what_is_no_id_of_a_model_means_from_scratch(tmp_path: Path, base: str | None) -> None:
    async def story() -> None:
        async with hand_made(tmp_path, "--epochs", "1") as (loop, trainer):
            details = {key: value for key, value in DETAILS.items() if key != "base_model_uuid"}
            wish = details if base is None else {**details, "base_model_uuid": base}
            assert await loop.call("begin_training", "acme", "cups", wish) == SUCCESS
            await over(trainer)
            assert [each for each in loop.asked if each.startswith("GET models")] == [
                f"GET models/{MODEL}/appliance_pytorch/file"
            ]
            assert trainer.last is not None
            assert trainer.last.outcome == "finished"

    asyncio.run(story())


@pytest.mark.parametrize("asked", ["GET data", "PUT trainings", "POST detections"])
@pytest.mark.parametrize("event", ["stop_training", "abort_training"])
def test_stopping_counts_only_while_it_runs_and_aborting_always(tmp_path: Path, asked: str, event: str) -> None:
    async def story() -> None:
        async with hand_made(tmp_path, "--epochs", "1") as (loop, trainer):
            told: list[asyncio.Task[Any]] = []

            async def interfere() -> None:
                if not told and loop.asked and loop.asked[-1].startswith(asked):
                    told.append(asyncio.create_task(loop.call(event)))
                    await asyncio.shield(told[0])

            loop.before_answer = interfere
            assert await loop.call("begin_training", "acme", "cups", DETAILS) == SUCCESS
            await over(trainer)
            assert await told[0] == SUCCESS
            assert trainer.last is not None
            assert trainer.last.outcome == ("finished" if event == "stop_training" else "aborted")
            await until(lambda: loop.states()[-1] == "idle", "the loop knows that it is idle")
            if event == "abort_training":
                assert loop.asked[-1].startswith(asked), "nothing more is asked of the Loop"

    asyncio.run(story())
