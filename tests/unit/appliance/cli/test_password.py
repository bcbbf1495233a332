"""`appliance password`, with a server and without."""

from __future__ import annotations

import json

import httpx
import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner, Result

from appliance.cli.main import cli
from appliance.cli.place import Surroundings
from appliance.passwords import FILE_NAME, Kept, plain
from models.files import FILE_SYSTEM
from tests.unit.appliance.cli.conftest import Shell

WANTED = "correct horse"


def typed(shell: Shell, text: str, *arguments: str) -> Result:
    """Run a command for somebody who types this."""
    surroundings = Surroundings(shell.environ, shell.folder, shell._transport)
    return CliRunner().invoke(cli, ["password", *arguments], obj=surroundings, input=text)


def kept(shell: Shell) -> Kept:
    return Kept.model_validate_json((shell.data / FILE_NAME).read_bytes())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("set",), f"{WANTED}\n{WANTED}\n"), (("set", "--stdin"), f"{WANTED}\n"), (("set", "--stdin"), WANTED)],
)
def test_a_password_is_set_while_no_server_runs(shell: Shell, arguments: tuple[str, ...], text: str) -> None:
    result = typed(shell, text, *arguments)

    assert result.exit_code == 0, result.output
    assert WANTED not in result.output
    hashed = kept(shell).password
    assert hashed is not None
    assert PasswordHasher().verify(hashed, WANTED)
    assert (shell.data / FILE_NAME).stat().st_mode & 0o077 == 0


def test_two_that_differ_set_nothing(shell: Shell) -> None:
    assert typed(shell, "one password\nanother one\n", "set").exit_code != 0
    assert not (shell.data / FILE_NAME).exists()


@pytest.mark.parametrize("short", ["", "seven77"])
def test_one_that_is_too_short_is_refused_before_anybody_is_asked(shell: Shell, short: str) -> None:
    result = typed(shell, f"{short}\n", "set", "--stdin")

    assert result.exit_code == 1
    assert "A password has 8 to 255 characters" in result.output
    assert not (shell.data / FILE_NAME).exists()


def test_it_is_cleared_while_no_server_runs_and_the_code_claims_the_box(shell: Shell) -> None:
    typed(shell, f"{WANTED}\n", "set", "--stdin")

    code = shell.ok("password", "clear").strip()

    assert kept(shell).password is None
    hashed = kept(shell).code
    assert hashed is not None
    assert PasswordHasher().verify(hashed, plain(code))


def test_a_password_file_that_is_broken_is_replaced(shell: Shell) -> None:
    shell.data.mkdir()
    FILE_SYSTEM.write_atomically(shell.data / FILE_NAME, b"{")

    assert typed(shell, f"{WANTED}\n", "set", "--stdin").exit_code == 0
    assert kept(shell).password is not None


def test_a_running_server_is_asked_to(shell: Shell) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "OK"} if request.method == "PUT" else {"code": "abcd-2345"})

    shell.serve(answer)

    assert typed(shell, f"{WANTED}\n", "set", "--stdin").exit_code == 0
    assert shell.ok("password", "clear").strip() == "abcd-2345"
    put, delete = shell.requests
    assert (put.method, put.url.path, json.loads(put.content)) == ("PUT", "/api/v1/password", {"password": WANTED})
    assert (delete.method, delete.url.path) == ("DELETE", "/api/v1/password")
    assert not (shell.data / FILE_NAME).exists(), "the server keeps it"
