"""The settings of a companion, by the names that learning-loop-node gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from companions.settings import CompanionSettings
from models.errors import SettingsInvalid


class Painter(CompanionSettings):
    companion = "painter"


def load(**environ: str) -> Painter:
    return Painter.load({"HOME": "/nowhere", **environ})


def test_the_names_of_upstream_are_read_and_the_prefixed_one_wins() -> None:
    assert load(HOST="old:80").loop_host == "old:80"
    found = load(
        HOST="old",
        LOOP_HOST="new",
        ORGANIZATION="acme",
        PROJECT="Parts",
        NODE_HOST="0.0.0.0",
        NODE_PORT="99",
        NODE_NAME="gpu server",
    )
    assert (found.loop_host, found.loop_organization, found.loop_project) == ("new", "acme", "parts")
    assert (found.bind_host, found.port, found.node_name) == ("0.0.0.0", 99, "gpu server")


def test_a_user_name_of_the_desktop_is_no_login() -> None:
    assert load(USERNAME="ann").loop_username is None
    found = load(USERNAME="ann", PASSWORD="secret")
    assert found.loop_username == "ann"
    assert found.loop_password is not None
    assert "secret" not in repr(found)


def test_without_any_setting_it_listens_to_this_machine_and_asks_no_loop() -> None:
    found = load()
    assert (found.bind_host, found.loop_host, found.loop_client()) == ("127.0.0.1", None, None)
    assert found.data_folder.name == "painter"


def test_the_command_line_wins() -> None:
    found = Painter.load(
        {"NODE_PORT": "99", "DATA_FOLDER": "/a"}, {"port": 7, "bind_host": None, "data_folder": Path("/b")}
    )
    assert (found.port, found.bind_host, found.data_folder) == (7, "127.0.0.1", Path("/b"))


@pytest.mark.parametrize("word", ["1", "true", "True"])
def test_switches_are_read_as_upstream_reads_them(word: str) -> None:
    found = load(SKIP_REPEAT_ON_START=word, USE_BACKDOOR_CONTROLS=word)
    assert found.skip_repeat_on_start
    assert found.use_backdoor_controls


def test_a_mistake_names_the_variable_and_what_it_is_for() -> None:
    with pytest.raises(SettingsInvalid, match=r"NODE_PORT is 'many'.*TCP port of the server"):
        load(NODE_PORT="many")
    with pytest.raises(SettingsInvalid, match="TRUSTED_NETWORKS"):
        load(TRUSTED_NETWORKS="10.0.0.0/8, house")


def test_networks_are_a_list() -> None:
    assert [str(each) for each in load(TRUSTED_NETWORKS="10.0.0.7/8, fd00::/8").trusted_networks] == [
        "10.0.0.0/8",
        "fd00::/8",
    ]
