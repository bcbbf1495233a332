"""What becomes of the pictures that the filter picks: budgets, a full disk, and numbers that add up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import appliance.app
from tests.service.box import Box, settings_for
from tests.service.conftest import MakeBox
from tests.service.outbox import pictures_in, wait_for_pictures
from tests.service.photographs import CAT, CUP, MOTORCYCLE, PERSON, Photograph
from tests.service.test_operation import value
from tests.support.small_disk import SmallDisk, small_disk

CURIOUS = {"min_uncertain_threshold": 0.05, "max_uncertain_threshold": 1.0}
"""Whatever is new is of interest."""


def detect(box: Box, photograph: Photograph, camera: str = "front", **headers: str) -> httpx.Response:
    """One picture of a camera."""
    answer = box.http.post("/detect", files={"file": photograph.jpeg}, headers={"camera-id": camera, **headers})
    assert answer.status_code == 200, answer.text
    return answer


def picks(box: Box) -> dict[str, Any]:
    """What the box says of its picks once none is on its way any more; the numbers have to add up."""
    box.wait_until(lambda: box.http.get("/api/v1/outbox").json()["picks"]["waiting"] == 0)
    told: dict[str, Any] = box.http.get("/api/v1/outbox").json()["picks"]
    assert told["wanted"] == told["kept"] + told["waiting"] + sum(told["dropped"].values())
    return told


def dropped(box: Box) -> dict[str, int]:
    """What was wanted and not kept."""
    return {reason: count for reason, count in picks(box)["dropped"].items() if count}


def test_a_camera_has_a_budget_that_a_reload_changes(make_box: MakeBox) -> None:
    box = make_box(**CURIOUS, max_picks_per_camera_per_hour=2)
    box.services.reread = lambda: settings_for(box.data.parent, **CURIOUS, max_picks_per_camera_per_hour=3)

    answers = [detect(box, each) for each in (CUP, CAT, PERSON)]

    assert [answer.headers["x-upload-reasons"] for answer in answers] == ["uncertain"] * 3
    assert [answer.headers.get("x-upload-dropped") for answer in answers] == [None, None, "camera_budget"]
    assert "x-upload-dropped" not in detect(box, PERSON, camera="rear").headers
    assert "x-upload-dropped" not in detect(box, PERSON, autoupload="all").headers
    assert len(wait_for_pictures(box, 4)) == 4
    assert dropped(box) == {"camera_budget": 1}
    assert value(box, "detector_picks_dropped_total", reason="camera_budget") == 1
    assert value(box, "detector_picks_dropped_total", reason="outbox_full") == 0
    assert value(box, "detector_picks_wanted_total") == 5

    assert box.http.post("/api/v1/reload").status_code == 202
    box.wait_until(lambda: box.services.settings.max_picks_per_camera_per_hour == 3)

    assert "x-upload-dropped" not in detect(box, MOTORCYCLE).headers
    assert len(wait_for_pictures(box, 5)) == 5


def test_every_picture_in_the_outbox_says_why_it_was_picked(make_box: MakeBox) -> None:
    box = make_box(**CURIOUS)
    detect(box, CUP, tags="kitchen")
    detect(box, CUP, autoupload="all", tags="wanted")
    assert box.http.post("/upload", files={"files": CAT.jpeg}).status_code == 200

    tags = sorted(kept.metadata["tags"] for kept in wait_for_pictures(box, 3))

    assert tags == [
        ["kitchen", "uncertain", "seed_model"],
        ["seed_model", "picked_by_system"],
        ["wanted", "seed_model"],
    ]


def test_the_time_of_day_may_jump_by_a_year_without_a_pick_too_many_or_too_few(
    make_box: MakeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = make_box(**CURIOUS, max_picks_per_camera_per_hour=2)
    detect(box, CUP)
    real, year = time.time, 365 * 86400.0
    for jump in (year, -year):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        assert "x-upload-reasons" not in detect(box, CUP).headers, "seen a moment ago, whatever the clock says"
    assert "x-upload-dropped" not in detect(box, CAT).headers
    assert detect(box, PERSON).headers["x-upload-dropped"] == "camera_budget"


@pytest.fixture(params=["tmpfs", "acted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of its own for the box's data."""
    with small_disk(tmp_path, request.param) as found:
        if found is None:
            pytest.skip("this machine lets nobody mount a tmpfs; the acted disk is tested instead")
        yield found


@pytest.mark.parametrize("floor_mb", [0, 1], ids=["the disk refuses", "the floor refuses"])
def test_detection_goes_on_while_the_disk_is_full_and_keeping_when_there_is_room_again(
    disk: SmallDisk, floor_mb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance.app, "FILE_SYSTEM", disk.files)
    with Box(settings_for(disk.folder, **CURIOUS, min_free_disk_mb=floor_mb)) as box:
        assert box.http.post("/upload", files={"files": CUP.jpeg}).status_code == 200

        disk.fill()
        assert detect(box, CAT).json()["box_detections"], "detection goes on"
        detect(box, PERSON, autoupload="all")
        refused = box.http.post("/upload", files={"files": CAT.jpeg})
        assert refused.status_code == 507
        assert "disk" in refused.json()["detail"], "in words"
        assert dropped(box) == {"outbox_full": 2}
        assert len(pictures_in(box)) == 1
        assert box.detects(CUP.jpeg)

        disk.free()
        detect(box, MOTORCYCLE)
        assert len(wait_for_pictures(box, 2)) == 2, "goes on by itself"
        assert box.http.post("/upload", files={"files": CAT.jpeg}).status_code == 200
        assert picks(box)["kept"] == 1
