"""The README's part on what all companions share says what the programs say."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from access import Right, walk
from annotator_companion.settings import AnnotatorSettings
from companions import server
from companions.access import TABLE
from companions.settings import CompanionSettings
from converter_companion.settings import ConverterSettings
from tests.support.readme import rows, section
from trainer_companion import rest
from trainer_companion.settings import TrainerSettings

SECTION = section("## Companions")

COMPANIONS = (TrainerSettings, ConverterSettings, AnnotatorSettings)
WHO = {Right.OPEN: "open", Right.CHANGE_OR_SEE: "closed"}


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_setting_that_all_share_is_documented_with_its_variables_default_and_meaning() -> None:
    table = {codes(first)[0]: (codes(first), default, meaning) for first, default, meaning in rows(SECTION, "setting")}
    assert list(table) == [CompanionSettings.environment_names(field)[0] for field in CompanionSettings.model_fields]
    for field, info in CompanionSettings.model_fields.items():
        variables, default, meaning = table[CompanionSettings.environment_names(field)[0]]
        assert variables == list(CompanionSettings.environment_names(field))
        assert meaning == info.description
        if field == "port":
            ports = {each.companion: str(each.model_fields["port"].default) for each in COMPANIONS}
            assert default == ", ".join(f"{name} `{port}`" for name, port in ports.items())
        elif field not in {"node_name", "data_folder"}:  # of these two it depends on the machine
            value = info.get_default(call_default_factory=True)
            assert codes(default) == _as_written(value), field


def _as_written(value: Any) -> list[str]:
    if value is None or value == []:
        return []
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def served(monkeypatch: pytest.MonkeyPatch, folder: Path, *, backdoor: bool) -> list[str]:
    """What a trainer serves, without its page."""
    bare: list[FastAPI] = []
    monkeypatch.setattr(server, "guarded", lambda app, _policy: bare.append(app))
    settings = TrainerSettings(data_folder=folder, use_backdoor_controls=backdoor)
    trainer: Any = SimpleNamespace(settings=settings)
    server.create_app(settings, trainer, routers=[rest.router(trainer)])
    return sorted(f"{method} {path}" for method, path in walk(bare[0].routes))


def test_every_route_is_documented_with_who_may_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = {codes(first)[0]: who for first, who, _ in rows(SECTION, "route")}
    assert sorted(table) == served(monkeypatch, tmp_path, backdoor=True)
    for route, who in table.items():
        assert who == WHO[TABLE.right_to(*route.split(" "))], route
    assert sorted([*table][:-6]) == served(monkeypatch, tmp_path, backdoor=False), "the last six are for tests"


def test_what_can_be_told_to_fail_is_named() -> None:
    [meaning] = [meaning for first, _, meaning in rows(SECTION, "route") if "/error_configuration" in first]
    assert codes(meaning) == list(rest.ERRORS)


def test_the_tunnel_leads_to_every_page() -> None:
    tunnel = re.search(r"^ssh (.*) gpu-server$", SECTION, re.MULTILINE)
    assert tunnel
    ports = [each.model_fields["port"].default for each in COMPANIONS]
    assert re.findall(r"-L (\S+)", tunnel[1]) == [f"{port}:localhost:{port}" for port in ports]
