"""A reload reads the settings again and puts into force what a running box can change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.box import STRANGER, Box, settings_for
from tests.service.photographs import CAT


@pytest.fixture
def reloading(make_box: Any) -> Box:
    """A box whose overlay of settings is read again."""
    made: Box = make_box()
    made.services.reread = lambda: settings_for(made.data.parent)
    return made


def reload(box: Box, overlay: str) -> None:
    """Change the overlay, as the dashboard would, and have the box read it."""
    (box.data / "settings.toml").write_text(overlay, encoding="utf-8")
    swaps = box.services.supervisor.counters.swaps
    assert box.http.post("/api/v1/reload").status_code == 202
    box.wait_until(lambda: box.services.supervisor.counters.swaps == swaps + 1)


def test_a_network_that_is_trusted_now_gets_in(reloading: Box) -> None:
    assert reloading.ask("GET", "/api/v1/outbox", client=STRANGER).status_code == 401

    reload(reloading, f'trusted_networks = ["{STRANGER[0]}/32"]\nqueue_depth = 5\nmin_uncertain_threshold = 0.2\n')

    assert reloading.ask("GET", "/api/v1/outbox", client=STRANGER).status_code == 200
    assert reloading.services.supervisor.limits.queue_depth == 5
    assert reloading.services.supervisor.limits.floor == 0.2
    shown = {row["name"]: row["value"] for row in reloading.http.get("/api/v1/settings").json()}
    assert shown["queue_depth"] == 5
    assert reloading.detects(CAT.jpeg)


def test_what_needs_a_restart_is_said_and_stays(reloading: Box, caplog: pytest.LogCaptureFixture) -> None:
    before = reloading.services.settings.max_models_mb

    reload(reloading, "max_models_mb = 7\n")

    assert "a restart is due for the new values of max_models_mb" in caplog.text
    assert reloading.services.settings.max_models_mb == before


def test_settings_that_are_wrong_change_nothing(reloading: Box, caplog: pytest.LogCaptureFixture) -> None:
    reload(reloading, 'queue_dept = 5\ntrusted_networks = ["0.0.0.0/0"]\n')

    assert "the settings stay as they are" in caplog.text
    assert reloading.ask("GET", "/api/v1/outbox", client=STRANGER).status_code == 401
    assert reloading.detects(CAT.jpeg)
