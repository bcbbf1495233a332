"""`appliance support`."""

from __future__ import annotations

import stat
import zipfile

import httpx

from tests.unit.appliance.cli.conftest import Shell


def test_without_a_server_it_is_made_of_the_folder_and_the_settings(shell: Shell) -> None:
    shell.ok("keys", "create", "lift")

    said = shell.ok("support", "help.zip", LOOP_USERNAME="anna", LOOP_PASSWORD="hush-hush")

    path = shell.folder / "help.zip"
    assert str(path) in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert "anna" in texts["settings.json"]
    assert not any("hush-hush" in text for text in texts.values())


def test_a_running_box_makes_it_itself(shell: Shell) -> None:
    shell.serve(lambda request: httpx.Response(200, content=b"a zip"))

    shell.ok("support", "help.zip")

    assert shell.requests[0].url.path == "/api/v1/support"
    assert (shell.folder / "help.zip").read_bytes() == b"a zip"


def test_a_file_that_cannot_be_written_is_said(shell: Shell) -> None:
    assert "cannot be written" in shell.fails("support", "no/such/folder/help.zip")
