"""`appliance loop`: what it starts with, and how it ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from appliance.lock import acquire
from appliance.loop_server import app
from appliance.loop_server.events import MAX_MESSAGE
from appliance.loop_server.settings import LoopServerSettings
from tests.unit.appliance.cli.conftest import Shell


class Started:
    """With what loops were started; none of them really is."""

    def __init__(self) -> None:
        self.settings: list[LoopServerSettings] = []
        self.configs: list[uvicorn.Config] = []
        self.succeeds = True

    def create_loop(self, settings: LoopServerSettings) -> str:
        self.settings.append(settings)
        return "the application"

    def run(self, server: uvicorn.Server) -> None:
        self.configs.append(server.config)
        server.started = self.succeeds


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    found = Started()
    monkeypatch.setattr(app, "create_loop", found.create_loop)
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, *_: found.run(server))
    return found


def test_it_has_a_port_and_a_folder_of_its_own(shell: Shell, started: Started) -> None:
    shell.ok("loop", NODE_PORT="81")
    assert (started.configs[0].host, started.configs[0].port) == ("127.0.0.1", 8014)
    assert started.configs[0].proxy_headers is False
    assert started.configs[0].ws_max_size == MAX_MESSAGE
    assert started.settings[0] == LoopServerSettings(shell.data / "loop", host="127.0.0.1:8014")


def test_options_and_settings_reach_it(shell: Shell, started: Started) -> None:
    options: list[Any] = ["--host", "0.0.0.0", "--port", "99", "--data-dir", "mine", "--test-data"]
    options += ["--database-url", "postgresql+pg8000://db/loop", "--blobs-url", "s3://bucket/loop"]
    names = {"TRUSTED_NETWORKS": "10.0.0.0/8", "MAX_IMAGE_MB": "7", "ALLOWED_HOSTS": "loop.example.org"}
    shell.ok("loop", *options, LOOP_USERNAME="ann", LOOP_PASSWORD="secret enough", **names)
    [settings] = started.settings
    assert settings.data_folder == shell.folder / "mine"
    assert (settings.test_data, settings.max_image_mb) == (True, 7)
    assert (settings.database_url, settings.blobs_url) == ("postgresql+pg8000://db/loop", "s3://bucket/loop")
    assert (settings.username, settings.password) == ("ann", "secret enough")
    assert [str(network) for network in settings.trusted_networks] == ["10.0.0.0/8"]
    assert settings.allowed_hosts == ("loop.example.org",)
    assert settings.host.endswith(":99")
    assert "0.0.0.0" not in settings.host
    assert "secret" not in repr(settings)


def test_two_loops_do_not_share_a_folder(shell: Shell, started: Started) -> None:
    with acquire(shell.data / "loop", "http://127.0.0.1:8014"):
        assert "in use by the server at http://127.0.0.1:8014" in shell.fails("loop")
    assert started.configs == []


def test_a_device_and_its_loop_may_lie_in_one_folder(shell: Shell, started: Started) -> None:
    with acquire(shell.data, "http://127.0.0.1:8004"):
        shell.ok("loop")


def test_a_loop_that_does_not_start_says_so(shell: Shell, started: Started) -> None:
    started.succeeds = False
    assert "The loop did not start; the lines above say why." in shell.fails("loop")


def test_a_database_that_is_none_of_ours_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: pytest.fail("it must not come to that"))
    assert "A loop's database is SQLite or PostgreSQL" in shell.fails("loop", "--database-url", "mysql+pymysql://x/y")
    assert "The database URL cannot be used" in shell.fails("loop", "--database-url", "nonsense")


def test_being_told_to_stop_is_no_failure(shell: Shell, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: signal.raise_signal(signal.SIGTERM))
    result = shell.run("loop")
    assert (result.exit_code, result.stderr) == (0, "Stopped.\n")
    assert Path(shell.data / "loop").is_dir()
