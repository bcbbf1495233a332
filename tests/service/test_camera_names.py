"""Cameras that people call something else: on the pages, and nowhere that robots or the Loop would see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.dashboard import Dashboard
from models.errors import InvalidInput, SettingsInvalid
from tests.service.box import Box, settings_for
from tests.service.photographs import CAT


def look(box: Box, camera: str | None) -> None:
    """Detect in a picture of this camera."""
    headers = {"camera-id": camera} if camera is not None else {}
    box.http.post("/detect", files={"file": CAT.jpeg}, headers=headers).raise_for_status()


def test_a_camera_has_the_name_that_people_gave_it_also_after_a_restart(tmp_path: Path) -> None:
    with Box(settings_for(tmp_path)) as box:
        box.services.reread = lambda: settings_for(tmp_path)
        dashboard = Dashboard(box.services)
        for camera in ("usb-0:1.2", "rear", None):
            look(box, camera)
        assert [(row.id, row.name) for row in box.run(dashboard.cameras.feed.now()).rows] == [
            ("rear", ""),
            ("usb-0:1.2", ""),
        ]

        assert box.run(dashboard.cameras.rename("usb-0:1.2", " Front left ")) == ""
        shown = box.run(dashboard.seeing.recent.now())
        assert [(each.id, each.camera) for each in shown] == [
            ("", "without a camera id"),
            ("rear", "rear"),
            ("usb-0:1.2", "Front left"),
        ]
        assert box.run(dashboard.cameras.rename("usb-0:1.2", "Left")) == "Front left"
        box.run(dashboard.cameras.rename("rear", "Back"))
        assert box.run(dashboard.seeing.recent.now())[2].camera == "Left", "the picture is the same"
        with pytest.raises(SettingsInvalid, match="at most 60 characters"):
            box.run(dashboard.cameras.rename("rear", "x" * 61))
        with pytest.raises(InvalidInput, match="without an id"):
            box.run(dashboard.cameras.rename("", "x"))
        assert box.run(dashboard.cameras.rename("rear", "")) == "Back"

    with Box(settings_for(tmp_path)) as box:
        [row] = box.run(Dashboard(box.services).cameras.feed.now()).rows
        assert (row.id, row.name, row.heard) == ("usb-0:1.2", "Left", "no picture lately")


def test_curl_gives_names_too_and_what_goes_to_the_loop_knows_none_of_them(tmp_path: Path) -> None:
    with Box(settings_for(tmp_path)) as box:
        box.services.reread = lambda: settings_for(tmp_path)
        answer = box.http.put("/api/v1/settings", json={"camera_names": {"usb-0:1.2": "Front left"}})
        assert answer.json() == {"restart_due": {}}
        headers = {"camera-id": "usb-0:1.2", "autoupload": "all"}
        found = box.http.post("/detect", files={"file": CAT.jpeg}, headers=headers).raise_for_status()
        assert "Front" not in found.text
        box.wait_until(lambda: box.services.picks.counts().waiting == 0)
        kept = [path.read_text() for path in (box.data / "outbox").rglob("*.json")]
        assert len(kept) == 1
        assert "Front" not in kept[0]
        assert box.run(Dashboard(box.services).seeing.recent.now())[0].camera == "Front left"
        assert box.http.put("/api/v1/settings", json={"camera_names": {"a": ""}}).status_code == 422


def test_names_of_the_environment_are_not_changed_here(tmp_path: Path) -> None:
    with Box(settings_for(tmp_path, camera_names={"a": "Above"})) as box:
        dashboard = Dashboard(box.services)
        view = box.run(dashboard.cameras.feed.now())
        assert [(row.id, row.name) for row in view.rows] == [("a", "Above")]
        assert view.locked is not None
        assert "command line" in view.locked
        with pytest.raises(SettingsInvalid, match="last word"):
            box.run(dashboard.cameras.rename("a", "Below"))
