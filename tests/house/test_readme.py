"""The README names every setting, command, route and event, and says of each what the program says."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from access import Right, walk
from appliance.app import build, rest
from appliance.cli.main import cli
from appliance.device_table import DEVICE_TABLE
from appliance.events import Events
from appliance.loop_server import app as loop_app
from appliance.loop_server.events import Events as LoopEvents
from appliance.loop_server.rights import LOOP_TABLE, PROJECT
from appliance.loop_server.settings import LoopServerSettings
from appliance.settings import Settings, environment_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

WHO = {Right.OPEN: "open", Right.DETECT: "detect", Right.CHANGE_OR_SEE: "closed"}

WHO_IN_THE_LOOP = {Right.OPEN: "open", Right.NODE: "node", Right.CHANGE_OR_SEE: "user", Right.ADMINISTRATE: "admin"}

PAGES = {"GET /", "GET /live", "GET /models", "GET /outbox", "GET /settings", "GET /system"}
"""Routes that are no REST: the dashboard's library serves them."""

INSIDE = re.compile(r"GET /docs/oauth2-redirect|.*\{path:path\}")
"""Parts of the offline documentation that nobody asks for by name."""


def rows(section: str) -> list[list[str]]:
    """The table of a section, without its heads; every cell as it stands."""
    match = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match, f"there is no section {section!r} in README.md"
    lines = [line for line in match[1].splitlines() if line.startswith("| `")]
    assert lines, f"the section {section!r} of README.md has no table whose first column is code"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_picture_is_there_is_small_and_says_what_it_shows() -> None:
    shown = re.findall(r"<img ([^>]*)>", README)
    assert len(shown) >= 4
    for attributes in shown:
        said = dict(re.findall(r'(\w+)="([^"]*)"', attributes))
        assert len(said["alt"]) > 20, said
        assert (ROOT / said["src"]).stat().st_size <= 300_000, said["src"]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented(section: str) -> dict[str, list[str]]:
    """Name -> the other cells of its row; each name once."""
    found = [(codes(first)[0], others) for first, *others in rows(section)]
    names = [name for name, _ in found]
    assert len(names) == len(set(names)), f"a name stands twice in section {section!r}"
    return dict(found)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_folder=tmp_path, use_backdoor_controls=True)


def test_every_setting_is_documented_with_its_variables_default_and_meaning() -> None:
    table = documented("Settings")
    assert list(table) == list(Settings.model_fields)
    for name, (variables, default, meaning) in table.items():
        field = Settings.model_fields[name]
        assert codes(variables) == list(environment_names(name)), name
        assert meaning == field.description, name
        if name not in {"node_name", "data_folder"}:  # of these two it depends on the machine
            assert codes(default) == _as_written(field.get_default(call_default_factory=True)), name


def _as_written(default: Any) -> list[str]:
    if default is None or default in ([], {}):
        return []
    return [str(default).lower() if isinstance(default, bool) else str(default)]


def test_every_command_is_documented() -> None:
    assert list(documented("Commands")) == list(_commands(cli, "appliance"))


def _commands(group: click.Group, name: str) -> Iterator[str]:
    for part, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} {part}")
        else:
            yield f"{name} {part}"


def test_every_command_and_every_option_explains_itself() -> None:
    def check(command: click.Command, name: str) -> None:
        assert command.help, name
        if isinstance(command, click.Group):
            for part, below in command.commands.items():
                check(below, f"{name} {part}")
            return
        assert f"\b\n{name}" in inspect.cleandoc(command.help), f"the help of {name} has no example"
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.name}"

    check(cli, "appliance")


def test_every_route_is_documented_with_who_may_use_it(settings: Settings) -> None:
    served = {f"{method} {path}" for method, path in walk(rest(build(settings)).routes)}
    served = {route for route in served if not INSIDE.fullmatch(route)} | PAGES
    table = documented("Routes")
    assert sorted(table) == sorted(served)
    for route, (who, _) in table.items():
        method, path = route.split(" ")
        assert who == WHO[DEVICE_TABLE.right_to(method, path.replace("{version}", "1.0"))], route


def test_every_route_of_the_embedded_loop_is_documented_with_who_may_use_it(tmp_path: Path) -> None:
    services = loop_app.build(LoopServerSettings(tmp_path, test_data=True))
    try:
        served = {f"{method} {path}".replace(PROJECT, "…") for method, path in walk(loop_app.rest(services).routes)}
    finally:
        asyncio.run(services.database.close())
    table = documented("Routes of the embedded loop")
    assert sorted(table) == sorted(route for route in served if not INSIDE.fullmatch(route))
    for route, (who, _) in table.items():
        method, path = re.sub(r"[{}]", "", route.replace("…", PROJECT)).split(" ")
        assert who == WHO_IN_THE_LOOP[LOOP_TABLE.right_to(method, path)], route


def test_every_event_of_the_embedded_loop_is_documented_with_who_may_send_it(tmp_path: Path) -> None:
    services = loop_app.build(LoopServerSettings(tmp_path))
    try:
        served = sorted(LoopEvents(services).handlers)
    finally:
        asyncio.run(services.database.close())
    table = documented("Events of the embedded loop")
    assert sorted(table) == served
    for event, (who, _) in table.items():
        assert who == WHO_IN_THE_LOOP[LOOP_TABLE.right_to_event(event)], event


def test_every_event_is_documented_with_who_may_send_it(settings: Settings) -> None:
    table = documented("Events")
    assert sorted(table) == sorted(Events(build(settings)).handlers)
    for event, (who, _) in table.items():
        assert who == WHO[DEVICE_TABLE.right_to_event(event)], event


def test_the_two_commands_come_first_and_the_build_server_runs_what_the_readme_says() -> None:
    block = re.search(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block
    commands = [line.split("#")[0].strip() for line in block[1].splitlines()]
    assert commands == ["./install.sh demo", "./install.sh test"]
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]


def test_links_within_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
