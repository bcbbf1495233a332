"""The machine below the box: what is wrong with it, as curl is told."""

from __future__ import annotations

from typing import Any

from tests.service.box import Box
from tests.service.conftest import MakeBox

OF_THIS_MACHINE = {
    "clock_not_kept",
    "hot",
    "data_on_network",
    "data_in_memory",
    "disk_low",
    "under_voltage",
    "throttled",
}


def findings(box: Box) -> dict[str, dict[str, Any]]:
    """By code, but for what depends on the machine that runs the tests."""
    answer = box.http.get("/api/v1/doctor")
    answer.raise_for_status()
    return {each["code"]: each for each in answer.json() if each["code"] not in OF_THIS_MACHINE}


def test_a_box_that_is_well_has_no_findings(box: Box) -> None:
    assert findings(box) == {}


def test_what_is_wrong_is_told_with_what_to_do(make_box: MakeBox) -> None:
    box = make_box(
        use_backdoor_controls=True, trusted_networks=["0.0.0.0/0"], bind_host="0.0.0.0", runtime="litert/edgetpu/1"
    )
    box.wait_until(lambda: box.services.supervisor.worker is not None)

    found = findings(box)

    assert set(found) == {"accelerator_degraded", "backdoor_open", "trusts_everybody", "open_without_password"}
    assert all(each["to_do"] for each in found.values())
    assert "litert/edgetpu/1" in found["accelerator_degraded"]["sentence"]


def test_a_robot_that_was_turned_away_is_found(make_box: MakeBox) -> None:
    box = make_box()
    assert box.ask("POST", "/upload", client=("192.168.4.23", 40000), files={"files": b"x"}).status_code == 401

    assert "192.168.4.0/24" in findings(box)["robot_refused"]["to_do"]
