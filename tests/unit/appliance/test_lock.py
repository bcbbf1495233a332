"""A data folder has one server, and commands find it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.lock import LOCK_FILE, acquire, local_url, running_server
from models.errors import SettingsInvalid

URL = "http://127.0.0.1:8004"

HOLD = """
import subprocess, sys
from pathlib import Path
from appliance.lock import acquire
with acquire(Path(sys.argv[1]), "http://a-long-name.example:65535"):
    subprocess.run([sys.executable, "-c", "print('held', flush=True); input()"], close_fds=False)
"""
"""A server that has started a program, which lives on when the server is killed."""


def test_commands_find_the_server_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert running_server(folder) is None
    with acquire(folder, URL):
        assert running_server(folder) == URL
    assert running_server(folder) is None
    assert (folder / LOCK_FILE).read_text() == ""


def test_a_second_server_is_told_who_the_first_is(tmp_path: Path) -> None:
    with acquire(tmp_path, URL):
        with pytest.raises(SettingsInvalid, match=rf"in use by the server at {URL} \(process \d+\)"):
            acquire(tmp_path, "http://127.0.0.1:9").__enter__()
        assert running_server(tmp_path) == URL  # the refused one has changed nothing


def test_what_a_killed_server_left_behind_counts_for_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline() == "held\n"
        assert running_server(tmp_path) == "http://a-long-name.example:65535"
        server.kill()
        server.wait()
        assert "a-long-name" in (tmp_path / LOCK_FILE).read_text()
        assert running_server(tmp_path) is None
        with acquire(tmp_path, URL):
            assert running_server(tmp_path) == URL


def test_in_its_first_moment_a_server_cannot_be_named_yet(tmp_path: Path) -> None:
    with acquire(tmp_path, URL):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(SettingsInvalid, match="just starting"):
            running_server(tmp_path)
        with pytest.raises(SettingsInvalid, match="a server that is just starting"):
            acquire(tmp_path, URL).__enter__()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsInvalid, match=r"data folder .* cannot be used: "):
        acquire(tmp_path / "file" / "data", URL).__enter__()
    assert running_server(tmp_path / "file" / "data") is None


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        ("127.0.0.1", "http://127.0.0.1:8004"),
        ("0.0.0.0", "http://127.0.0.1:8004"),
        ("::", "http://[::1]:8004"),
        ("192.168.1.7", "http://192.168.1.7:8004"),
        ("localhost", "http://localhost:8004"),
    ],
)
def test_where_a_server_is_reached_from_its_own_machine(bound: str, reached: str) -> None:
    assert local_url(bound, 8004) == reached
