"""`appliance doctor`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from tests.unit.appliance.cli.conftest import Shell

FINDING = {"code": "hot", "severity": "warning", "sentence": "The machine is hot: 91 °C.", "to_do": "Give it air."}


def codes(shell: Shell, **environ: str) -> list[str]:
    """What is found in the folder, but for what depends on the machine that runs the tests."""
    of_machine = {"clock_not_kept", "hot", "data_on_network", "data_in_memory", "disk_low", "under_voltage"}
    found = json.loads(shell.run("doctor", "--json", **environ).stdout)
    return [each["code"] for each in found if each["code"] not in of_machine]


def test_a_new_folder_is_well(shell: Shell) -> None:
    assert codes(shell) == []


def test_without_a_server_it_looks_at_settings_folder_and_loop(shell: Shell) -> None:
    unreachable = "127.0.0.1:9"  # the port of `discard`, where nobody listens

    found = codes(
        shell,
        NODE_HOST="0.0.0.0",
        TRUSTED_NETWORKS="0.0.0.0/0",
        USE_BACKDOOR_CONTROLS="true",
        MIN_FREE_DISK_MB="1",
        LOOP_HOST=unreachable,
        LOOP_ORGANIZATION="acme",
        LOOP_PROJECT="bolts",
    )

    assert sorted(found) == ["backdoor_open", "loop_unreachable", "open_without_password", "trusts_everybody"]


def test_a_loop_that_is_set_in_part_is_told_once(shell: Shell) -> None:
    assert codes(shell, LOOP_HOST="loop.example") == ["loop_incomplete"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(shell: Shell) -> None:
    shell.data.mkdir()
    shell.data.chmod(0o555)

    assert "data_not_writable" in codes(shell)


def test_the_exit_status_says_whether_something_is_wrong(shell: Shell) -> None:
    wrong = shell.run("doctor", USE_BACKDOOR_CONTROLS="true")

    assert wrong.exit_code == 1
    assert "warning: use_backdoor_controls is on" in wrong.stdout
    assert "Unset USE_BACKDOOR_CONTROLS." in wrong.stdout


@pytest.mark.parametrize(("answer", "status", "said"), [([FINDING], 1, "91 °C"), ([], 0, "All is well.")])
def test_a_server_is_asked_where_one_runs(shell: Shell, answer: list[object], status: int, said: str) -> None:
    shell.serve(lambda request: httpx.Response(200, json=answer))

    result = shell.run("doctor")

    assert (result.exit_code, shell.requests[0].url.path) == (status, "/api/v1/doctor")
    assert said in result.stdout


def test_a_server_that_does_not_answer_is_what_is_wrong(shell: Shell) -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("never", request=request)

    shell.serve(silent)

    assert "server_silent" in codes(shell)


def test_a_full_outbox_is_found(shell: Shell, tmp_path: Path) -> None:
    for number in range(9):
        folder = shell.data / "outbox" / "normal" / f"2026-11-22_14-00-0{number}.000000"
        folder.mkdir(parents=True)
        (folder / f"image_{folder.name}.jpg").write_bytes(b"picture")
        (folder / f"image_{folder.name}.json").write_text("{}")

    assert codes(shell, MAX_OUTBOX_SIZE="10") == ["outbox_nearly_full"]
