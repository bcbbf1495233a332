"""`appliance backup` and `appliance restore`."""

from __future__ import annotations

import httpx
from click.testing import CliRunner

from appliance.cli.main import cli
from appliance.cli.place import Surroundings
from tests.unit.appliance.cli.conftest import Shell


def changed(shell: Shell) -> None:
    shell.data.mkdir(exist_ok=True)
    (shell.data / "settings.toml").write_text("queue_depth = 5\n")


def test_what_was_changed_comes_back(shell: Shell) -> None:
    changed(shell)
    shell.ok("keys", "create", "lift")
    assert "settings.toml" in shell.ok("backup", "robot.tar")
    (shell.data / "settings.toml").write_text("queue_depth = 9\n")
    shell.ok("keys", "revoke", "lift")

    said = shell.ok("restore", "robot.tar", "--yes")

    assert "Replaces: api_keys.json, settings.toml" in said or "Replaces: settings.toml, api_keys.json" in said
    assert "lift" in shell.ok("keys", "list")
    assert (shell.data / "settings.toml").read_text() == "queue_depth = 5\n"


def test_it_says_what_it_will_do_and_asks(shell: Shell) -> None:
    changed(shell)
    shell.ok("backup", "robot.tar")
    (shell.data / "settings.toml").write_text("queue_depth = 9\n")

    surroundings = Surroundings(shell.environ, shell.folder)
    result = CliRunner().invoke(cli, ["restore", "robot.tar"], obj=surroundings, input="n\n")

    assert result.exit_code == 1
    assert "Replaces: settings.toml" in result.output
    assert "Nothing was restored." in result.output
    assert (shell.data / "settings.toml").read_text() == "queue_depth = 9\n"
    assert not (shell.data / ".restore").exists()


def test_a_backup_is_made_while_a_server_runs_but_not_restored(shell: Shell) -> None:
    changed(shell)
    shell.serve(lambda request: httpx.Response(500))

    shell.ok("backup", "robot.tar")

    assert "in use by the server" in shell.fails("restore", "robot.tar", "--yes")


def test_a_backup_does_not_lie_in_what_it_saves(shell: Shell) -> None:
    changed(shell)

    assert "belongs somewhere else" in shell.fails("backup", shell.data / "robot.tar")


def test_what_is_no_backup_is_said(shell: Shell) -> None:
    changed(shell)
    (shell.folder / "text").write_text("hello")

    assert "no backup of an appliance" in shell.fails("restore", "text", "--yes")
    assert (shell.data / "settings.toml").exists()
