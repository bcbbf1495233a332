"""What becomes of a training by what its trainer says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from appliance.loop_server.training_records import TrainingRecord
from appliance.loop_server.trainings import GRACE, becomes
from models.wire.training import TrainingStatus

SOON, LATER = GRACE / 2, GRACE + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("state", "said", "has_model", "since", "expected"),
    [
        pytest.param("starting", "initialized", False, SOON, "running", id="it has begun, though its answer was lost"),
        pytest.param("starting", "idle", False, SOON, None, id="its status may be from before"),
        pytest.param("starting", "idle", False, LATER, "refused", id="it never began"),
        pytest.param("starting", "blocked", False, LATER, "refused", id="another trainer has the card"),
        pytest.param("running", "running", False, LATER, None, id="it is at it"),
        pytest.param("running", "waiting_for_slot", True, LATER, None, id="it was restarted, and waits for the card"),
        pytest.param("running", "ready_for_cleanup", True, LATER, None, id="not quite yet"),
        pytest.param("running", "a state of later days", True, LATER, None, id="what is not known is not idle"),
        pytest.param("running", "idle", False, SOON, None, id="just begun: its status may be from before"),
        pytest.param("running", "idle", True, SOON, "finished", id="that was quick"),
        pytest.param("running", "idle", True, LATER, "finished", id="it has found something"),
        pytest.param("running", "idle", False, LATER, "failed", id="it has found nothing"),
        pytest.param("running", None, True, LATER, "finished", id="no state is idle"),
        pytest.param("stopping", "training_finished", False, SOON, None, id="it is uploading"),
        pytest.param("stopping", "idle", True, SOON, "finished", id="stopped with a model"),
        pytest.param("stopping", "idle", False, SOON, "failed", id="stopped before there was any"),
        pytest.param("aborting", "running", False, SOON, None, id="it has not heard it yet"),
        pytest.param("aborting", "idle", False, SOON, "aborted", id="aborted"),
        pytest.param("aborting", "idle", True, SOON, "aborted", id="aborted, with a model from before"),
    ],
)
def test_states(state: str, said: str | None, has_model: bool, since: timedelta, expected: str | None) -> None:
    training = TrainingRecord(1, 1, state, "trainer", None, {}, "2024", None, None)
    status = TrainingStatus(id="trainer", name="gpu server", state=said)
    assert becomes(training, status, has_model=has_model, since_begun=since) == expected
