"""Settings and API keys over the network: what may be changed is checked, kept, and in force at once where that can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import overlay
from appliance.dashboard import Dashboard
from models.errors import InvalidInput, SettingsInvalid
from tests.service.box import STRANGER, Box, settings_for
from tests.service.photographs import CAT
from tests.support.held_threads import Held


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A box of this test alone, which reads its settings as a server does."""
    with Box(settings_for(tmp_path, queue_depth=9)) as made:
        made.services.reread = lambda: settings_for(tmp_path, queue_depth=9)
        yield made


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One that nobody manages to change."""
    folder = tmp_path_factory.mktemp("unchanged")
    with Box(settings_for(folder, queue_depth=9)) as made:
        made.services.reread = lambda: settings_for(folder, queue_depth=9)
        yield made


def in_force(box: Box) -> dict[str, Any]:
    return {row["name"]: row["value"] for row in box.http.get("/api/v1/settings").json()}


def change(box: Box, **changes: Any) -> Any:
    answer = box.http.put("/api/v1/settings", json=changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


def after_restart(box: Box) -> Any:
    return settings_for(box.data.parent, queue_depth=9)


def test_a_change_is_in_force_at_once_and_after_a_restart(box: Box) -> None:
    assert change(box, max_outbox_size=1, min_uncertain_threshold=0.2) == {"restart_due": {}}

    assert in_force(box)["max_outbox_size"] == 1
    assert box.http.post("/upload", files={"files": CAT.jpeg}).status_code == 200
    assert box.http.post("/upload", files={"files": CAT.jpeg}).status_code == 507, "only one may wait now"
    assert box.services.supervisor.limits.floor == 0.2
    assert (after_restart(box).max_outbox_size, after_restart(box).min_uncertain_threshold) == (1, 0.2)

    change(box, max_outbox_size=None)
    assert in_force(box)["max_outbox_size"] == 1000
    assert box.http.post("/upload", files={"files": CAT.jpeg}).status_code == 200
    assert after_restart(box).min_uncertain_threshold == 0.2, "the others stay"


def test_what_counts_from_the_next_start_on_is_named(box: Box) -> None:
    assert change(box, keep_model_versions=7, log_level="INFO") == {"restart_due": {"keep_model_versions": 7}}
    assert in_force(box)["keep_model_versions"] == 3
    assert after_restart(box).keep_model_versions == 7

    row = next(
        row for row in box.run(Dashboard(box.services).settings.feed.now()).rows if row.name == "keep_model_versions"
    )
    assert (row.value, row.due, row.changed_here) == ("3", "7", True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_uncertain_threshold": 2}, "less than or equal to 1"),
        ({"min_uncertain_threshold": 0.9}, "must not be greater"),
        ({"trusted_networks": ["everybody"]}, "does not appear to be an IPv4 or IPv6 network"),
        ({"trusted_networks": "192.168.4.0/24\nuse_backdoor_controls = true"}, "list"),
        ({"use_backdoor_controls": True}, "not changed over the network"),
        ({"data_folder": "/etc"}, "not changed over the network"),
        ({"no_such_thing": 1}, "not changed over the network"),
        ({"max_outbox_size": 5, "max_outbox_mb": -1}, "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_changes_nothing(unchanged: Box, changes: dict[str, Any], words: str) -> None:
    before = in_force(unchanged)

    answer = unchanged.http.put("/api/v1/settings", json=changes)

    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert in_force(unchanged) == before
    assert not (unchanged.data / "settings.toml").exists()


def test_going_back_to_a_default_that_contradicts_what_else_was_changed_is_refused(box: Box) -> None:
    change(box, min_uncertain_threshold=0.8, max_uncertain_threshold=0.9)

    answer = box.http.put("/api/v1/settings", json={"max_uncertain_threshold": None})

    assert answer.status_code == 422
    assert after_restart(box).max_uncertain_threshold == 0.9, "the box still starts"
    assert in_force(box)["max_uncertain_threshold"] == 0.9


def test_what_the_command_line_says_is_locked(unchanged: Box) -> None:
    with pytest.raises(SettingsInvalid, match="last word"):
        unchanged.run(unchanged.services.change_settings({"queue_depth": 5}))


def test_keys_let_in_until_they_are_revoked(box: Box) -> None:
    made = box.http.post("/api/v1/keys", json={"name": "lift"})
    assert made.status_code == 201
    key = made.json()["key"]
    assert box.ask("GET", "/api/v1/outbox", client=STRANGER, headers={"x-api-key": key}).status_code == 200
    assert [row["name"] for row in box.http.get("/api/v1/keys").json()] == ["lift"]
    assert key not in box.http.get("/api/v1/keys").text
    assert box.http.post("/api/v1/keys", json={"name": "lift"}).status_code == 422
    assert box.http.post("/api/v1/keys", json={"name": "../etc"}).status_code == 422

    assert box.http.delete("/api/v1/keys/lift").status_code == 204
    box.wait_until(
        lambda: box.ask("GET", "/api/v1/outbox", client=STRANGER, headers={"x-api-key": key}).status_code == 401
    )


def test_the_page_changes_the_same(box: Box) -> None:
    settings = Dashboard(box.services).settings
    rows = {row.name: row for row in box.run(settings.feed.now()).rows}
    assert (rows["queue_depth"].locked, rows["queue_depth"].group) == (True, "")
    assert rows["min_uncertain_threshold"].kind == "number"
    assert rows["upload_max_mbit"].kind == "number"
    assert rows["trusted_networks"].kind == "list"
    assert rows["open_detection"].options == (("true", "Yes"), ("false", "No"))

    box.run(settings.change("trusted_networks", " 192.168.4.7/24, fd00::/64 "))
    box.run(settings.change("open_detection", "false"))
    box.run(settings.change("upload_max_mbit", "2.5"))
    assert in_force(box)["trusted_networks"] == ["192.168.4.0/24", "fd00::/64"]
    assert box.ask("POST", "/detect", client=STRANGER, files={"file": CAT.jpeg}).status_code == 401
    assert after_restart(box).upload_max_mbit == 2.5
    row = next(row for row in box.run(settings.feed.now()).rows if row.name == "trusted_networks")
    assert (row.value, row.origin) == ("192.168.4.0/24, fd00::/64", "changed here")

    box.run(settings.change("trusted_networks", ""))
    assert in_force(box)["trusted_networks"] == []
    with pytest.raises(SettingsInvalid, match="valid integer"):
        box.run(settings.change("max_outbox_size", "many"))
    with pytest.raises(InvalidInput, match="not changed over the network"):
        box.run(settings.change("loop_password", "secret"))
    key = box.run(settings.create_key("lift"))
    assert key.startswith("da_")
    assert [each.name for each in box.run(settings.feed.now()).keys] == ["lift"]
    box.run(settings.revoke_key("lift"))
    assert box.run(settings.feed.now()).keys == ()


def test_strangers_change_nothing(unchanged: Box) -> None:
    for method, path in (("PUT", "/api/v1/settings"), ("GET", "/api/v1/keys"), ("POST", "/api/v1/keys")):
        assert unchanged.ask(method, path, client=STRANGER, json={}).status_code == 401
    assert unchanged.ask("DELETE", "/api/v1/keys/lift", client=STRANGER).status_code == 401


def test_who_changes_something_and_leaves_has_changed_it(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in force is what the file says."""
    held = Held()
    change_all = overlay.change_all

    def slowly(*arguments: Any) -> None:
        held.here()
        change_all(*arguments)

    monkeypatch.setattr(overlay, "change_all", slowly)

    async def story() -> None:
        assert not await held.cancelled(box.services.change_settings({"max_uncertain_threshold": 0.9}))

    box.run(story())
    assert in_force(box)["max_uncertain_threshold"] == after_restart(box).max_uncertain_threshold == 0.9
