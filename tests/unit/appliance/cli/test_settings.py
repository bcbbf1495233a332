"""`appliance settings`."""

from __future__ import annotations

import json

import httpx

from tests.unit.appliance.cli.conftest import SERVER, Shell


def test_every_value_is_shown_with_its_origin(shell: Shell) -> None:
    (shell.folder / "mine.toml").write_text("queue_depth = 5\n")
    out = shell.ok("settings", "--config", "mine.toml", NODE_PORT="81", TRUSTED_NETWORKS="10.0.0.0/8,fd00::/8")
    lines = [line.split(maxsplit=2) for line in out.splitlines()]
    assert ["port", "81", "environment NODE_PORT"] in lines
    assert ["queue_depth", "5", f"file {shell.folder / 'mine.toml'}"] in lines
    assert ["open_detection", "yes", "default"] in lines
    assert ["loop_host", "-", "default"] in lines
    assert ["trusted_networks", "10.0.0.0/8,", "fd00::/8", "environment", "TRUSTED_NETWORKS"] in [
        line.split() for line in out.splitlines()
    ]


def test_json_tells_what_each_is_for(shell: Shell) -> None:
    found = {entry["name"]: entry for entry in json.loads(shell.ok("settings", "--json"))}
    assert found["port"] == {
        "name": "port",
        "value": 8004,
        "origin": "default",
        "environment": ["NODE_PORT"],
        "description": "TCP port of the server",
    }


def test_a_running_server_is_asked_for_what_is_in_force_there(shell: Shell) -> None:
    entry = {"name": "port", "value": 18004, "origin": "command line", "environment": [], "description": ""}
    shell.serve(lambda _: httpx.Response(200, json=[entry]))
    out = shell.ok("settings")
    assert f"In force at {SERVER}" in out
    assert out.splitlines()[-1].split(maxsplit=2) == ["port", "18004", "command line"]
    assert shell.requests[0].url.path == "/api/v1/settings"
