"""`appliance serve`: what it starts with, and how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.settings import Settings
from models.bundle import pack
from models.store import ModelStore
from tests.support.small_bundles import make_bundle
from tests.unit.appliance.cli.conftest import SERVER, Shell

Started = list[Settings]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The settings with which servers were started; none of them really is."""
    found: Started = []
    monkeypatch.setattr("appliance.serving.serve", lambda settings, _reread: found.append(settings))
    return found


def test_options_win_over_the_environment(shell: Shell, started: Started) -> None:
    shell.ok("serve", "--host", "0.0.0.0", "--data-dir", "box", NODE_PORT="81", NODE_HOST="10.0.0.1")
    (settings,) = started
    assert (settings.bind_host, settings.port, settings.data_folder) == ("0.0.0.0", 81, shell.folder / "box")
    assert settings.origin("bind_host") == "command line"
    assert settings.version_control_default is None


def test_a_version_on_the_box_is_served(shell: Shell, started: Started) -> None:
    shell.ok("serve", "--model", "0.0")
    assert started[0].version_control_default == "detector-appliance/everyday-objects/litert/0.0"


@pytest.mark.parametrize("packed", [True, False])
def test_a_bundle_is_taken_in_and_served(shell: Shell, started: Started, packed: bool) -> None:
    bundle = make_bundle(shell.folder / "mine", "1.4", organization="Acme")
    if packed:
        pack(bundle, shell.folder / "mine.zip")
    shell.ok("serve", "--model", "mine.zip" if packed else "mine")
    assert started[0].version_control_default == "Acme/demo/litert/1.4"
    assert [model.version for model in ModelStore(shell.data / "models").list()] == ["1.4"]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "Version 7 is not on this box"),
        ({"LOOP_ORGANIZATION": "acme", "LOOP_PROJECT": "x"}, "loop_project and model_format keep it from serving"),
    ],
)
def test_a_model_that_could_not_serve_is_refused_at_once(
    shell: Shell, started: Started, environ: dict[str, str], told: str
) -> None:
    make_bundle(shell.folder / "mine", "1.4")
    assert told in shell.fails("serve", "--model", "mine" if environ else "7", **environ)
    assert started == []


def test_nothing_is_taken_into_the_folder_of_a_running_server(shell: Shell, started: Started) -> None:
    shell.serve(lambda request: pytest.fail(f"nobody should ask for {request.url}"))
    make_bundle(shell.folder / "mine", "1.4")
    shell.ok("serve", "--model", "mine")  # the real one would refuse to start here
    assert not (shell.data / "models").exists()


def test_a_second_server_on_the_same_folder_is_told_who_the_first_is(shell: Shell) -> None:
    shell.serve(lambda request: pytest.fail(f"nobody should ask for {request.url}"))
    assert f"in use by the server at {SERVER}" in shell.fails("serve")


@pytest.mark.parametrize(
    "stop", [lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: signal.raise_signal(signal.SIGINT)]
)
def test_being_told_to_stop_is_no_failure(
    shell: Shell, started: Started, monkeypatch: pytest.MonkeyPatch, stop: Callable[[], None]
) -> None:
    monkeypatch.setattr("appliance.serving.serve", lambda *_: stop())
    result = shell.run("serve")
    assert (result.exit_code, result.stderr) == (0, "Stopped.\n")
    assert not Path(shell.data).exists()
