"""How commands end: exit status, sentences, interruption."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance.cli.main import cli, main
from models.errors import NoModel
from tests.unit.appliance.cli.conftest import Shell


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def command_that(error: BaseException) -> click.Command:
    @click.command("try")
    def attempt() -> None:
        raise error

    return attempt


def test_help_lists_the_commands_in_the_order_in_which_one_needs_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.index("serve ") < out.index("detect ") < out.index("models ") < out.index("version ")
    assert "appliance detect photo.jpg" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fly"], "No such command 'fly'"),
        (["detect"], "Missing argument 'PICTURE...'"),
        (["serve", "--port", "http"], "'http' is not a valid integer range"),
        (["detect", "a.jpg", "--json", "--draw", "b.jpg"], "--json and --draw cannot be combined"),
    ],
)
def test_a_command_that_was_called_wrongly_ends_with_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_what_goes_wrong_is_one_sentence_on_stderr(shell: Shell) -> None:
    result = shell.run("settings", "--config", "nowhere.toml")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: There is no configuration file ")
    assert result.stdout == ""


def test_debug_shows_where_it_went_wrong(shell: Shell) -> None:
    result = shell.run("settings", "--config", "nowhere.toml", "--debug")
    assert result.exit_code == 1
    assert "There is no configuration file" in str(result.exception)


def test_an_interrupted_command_says_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.commands, "try", command_that(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_an_error_that_is_no_sentence_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.commands, "try", command_that(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["try"])


def test_our_own_errors_are_caught_where_the_place_is_known(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise NoModel("There is none.")

    monkeypatch.setattr("appliance.cli.settings._shown", refuse)
    assert shell.fails("settings") == "Error: There is none.\n"


def test_odd_settings_are_said_and_do_not_stop_the_command(shell: Shell) -> None:
    result = shell.run("settings", LOOP_HOST="a", HOST="b")
    assert result.exit_code == 0
    assert "Warning: LOOP_HOST and HOST are both set and differ" in result.stderr


def test_python_m_appliance_is_the_command_and_a_reader_that_leaves_early_is_no_crash(tmp_path: Path) -> None:
    environ = {**os.environ, "DATA_FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "appliance", "settings"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=True)
    assert done.stdout.splitlines()[0].split() == ["setting", "value", "from"]

    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environ, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
