"""Keys are shown once, kept as hashes, and taken away again; a broken file lets nobody in."""

from __future__ import annotations

import hashlib
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api_keys import FILE_NAME, LOOK_AGAIN_AFTER, MAX_KEYS, PREFIX, ApiKeys
from models.errors import InvalidInput, NoRoom, SettingsInvalid
from models.files import FileSystem
from tests.support.crashing_files import disks_after_every_cut


class Clock:
    """Seconds since 1970, as far as the test says."""

    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


@pytest.fixture
def keys(path: Path, clock: Clock) -> ApiKeys:
    return ApiKeys(path, clock=clock)


def test_a_key_is_random_recognisable_and_says_whose_it_is(keys: ApiKeys) -> None:
    forklift, gate = keys.create("forklift"), keys.create("gate-2")
    assert forklift.startswith(PREFIX)
    assert len(forklift) == len(gate) == len(PREFIX) + 43, "256 bits in base64url"
    assert (keys.verify(forklift), keys.verify(gate)) == ("forklift", "gate-2")


def test_only_the_hash_is_on_the_disk_for_nobody_elses_eyes(keys: ApiKeys, path: Path) -> None:
    key = keys.create("forklift")
    text = path.read_text()
    assert key not in text
    assert key.removeprefix(PREFIX) not in text
    assert json.loads(text)["keys"][0]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    keys.create("gate")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_list_names_keys_and_when_they_were_made(keys: ApiKeys, clock: Clock) -> None:
    assert keys.list() == ()
    keys.create("forklift")
    clock.now += 86_400
    keys.create("gate")
    assert [(key.name, key.created) for key in keys.list()] == [
        ("forklift", "2026-01-01T00:00:00+00:00"),
        ("gate", "2026-01-02T00:00:00+00:00"),
    ]


def test_a_revoked_key_is_nobodys_at_once_and_the_others_stay(keys: ApiKeys) -> None:
    forklift, gate = keys.create("forklift"), keys.create("gate")
    keys.revoke("forklift")
    assert (keys.verify(forklift), keys.verify(gate)) == (None, "gate")
    assert keys.create("forklift") != forklift
    assert keys.verify(forklift) is None, "a new key of the same name does not bring the old one back"


def test_keys_survive_a_restart(keys: ApiKeys, path: Path) -> None:
    key = keys.create("forklift")
    assert ApiKeys(path).verify(key) == "forklift"


def test_a_running_server_sees_within_a_second_what_the_command_line_did(path: Path, clock: Clock) -> None:
    server, command_line = ApiKeys(path, clock=clock), ApiKeys(path, clock=clock)
    key = command_line.create("forklift")
    assert server.verify(key) == "forklift"

    command_line.revoke("forklift")
    clock.now += LOOK_AGAIN_AFTER
    assert server.verify(key) is None

    key = command_line.create("gate")
    clock.now -= 3600  # the clock of the machine was set back
    assert server.verify(key) == "gate"

    path.unlink()
    clock.now += LOOK_AGAIN_AFTER
    assert server.verify(key) is None


def test_the_disk_is_looked_at_once_a_second_and_not_for_every_request(path: Path, clock: Clock) -> None:
    server = ApiKeys(path, clock=clock)
    key = server.create("forklift")
    path.unlink()
    clock.now += LOOK_AGAIN_AFTER / 2
    assert server.verify(key) == "forklift"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda key: key[:-1], id="short"),
        pytest.param(lambda key: key + "A", id="long"),
        pytest.param(lambda key: key + "\n", id="newline"),
        pytest.param(lambda key: key[:-2] + ("AA" if key[-2:] != "AA" else "BB"), id="end-differs"),
        pytest.param(lambda key: key.swapcase(), id="other-case"),
        pytest.param(lambda key: key.removeprefix(PREFIX), id="without-prefix"),
        pytest.param(lambda key: hashlib.sha256(key.encode()).hexdigest(), id="the-hash"),
        pytest.param(lambda key: "", id="empty"),
        pytest.param(lambda key: "\ud800" * len(key), id="no-unicode"),
    ],
)
def test_what_is_not_quite_the_key_is_none(keys: ApiKeys, change: Any) -> None:
    assert keys.verify(change(keys.create("forklift"))) is None


@given(st.text(max_size=60) | st.text(alphabet="da_ABC", min_size=46, max_size=46))
def test_no_text_but_the_key_is_one_and_none_is_an_error(text: str) -> None:
    assert ApiKeys(Path("/nowhere/at/all")).verify(text) is None


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "a/b", "\u00e9", "a\n", "x" * 65])
def test_a_name_that_is_none_is_told(keys: ApiKeys, name: str) -> None:
    with pytest.raises(InvalidInput, match="is no name for a key: up to 64 letters"):
        keys.create(name)


def test_a_name_is_given_once_and_taken_away_once(keys: ApiKeys) -> None:
    keys.create("forklift")
    with pytest.raises(InvalidInput, match="There is a key 'forklift' already: revoke it first"):
        keys.create("forklift")
    with pytest.raises(InvalidInput, match="There is no key 'gate'; there is forklift"):
        keys.revoke("gate")
    keys.revoke("forklift")
    with pytest.raises(InvalidInput, match="there is none at all"):
        keys.revoke("forklift")


def test_the_number_of_keys_is_bounded(keys: ApiKeys) -> None:
    made = [keys.create(f"robot-{number}") for number in range(MAX_KEYS)]
    with pytest.raises(InvalidInput, match="which is the most there may be: revoke one first"):
        keys.create("one-more")
    assert keys.verify(made[-1]) == f"robot-{MAX_KEYS - 1}"


def written(*keys: dict[str, str]) -> bytes:
    return json.dumps({"version": 1, "keys": keys}).encode()


ENTRY = {"name": "forklift", "created": "2026-01-01T00:00:00+00:00", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "Invalid JSON", id="empty"),
        pytest.param(b'{"version": 1, "keys": [', "Invalid JSON", id="cut-off"),
        pytest.param(b"\x00" * 512, "Invalid JSON", id="zeros"),
        pytest.param(b"[]", "object", id="list"),
        pytest.param(b'{"version": 2, "keys": []}', "version: ", id="of-a-later-program"),
        pytest.param(written({**ENTRY, "sha256": "*"}), r"keys\.0\.sha256: ", id="no-hash"),
        pytest.param(written({**ENTRY, "name": ""}), r"keys\.0\.name: ", id="no-name"),
        pytest.param(written(ENTRY, ENTRY), "two keys have the same name", id="name-twice"),
        pytest.param(
            written(*({**ENTRY, "name": f"n{number}"} for number in range(MAX_KEYS + 1))), "keys: ", id="too-many"
        ),
        pytest.param(b" " * (1 << 20) + b"{}", "far too long", id="too-long"),
        pytest.param(None, "it cannot be read", id="a-folder"),
    ],
)
def test_a_broken_file_is_told_in_words_lets_nobody_in_and_is_not_overwritten(
    keys: ApiKeys, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, content: bytes | None, reason: str
) -> None:
    key = keys.create("forklift")
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    clock.now += LOOK_AGAIN_AFTER
    with caplog.at_level(logging.ERROR):
        for ask in (lambda: keys.verify(key), keys.list, lambda: keys.create("gate"), lambda: keys.revoke("forklift")):
            with pytest.raises(SettingsInvalid, match=f"No API key counts, because .*{reason}.*make new keys"):
                ask()
    assert len(caplog.messages) == 1
    if content is not None:
        assert path.read_bytes() == content
        path.unlink()
    else:
        path.rmdir()
    clock.now += LOOK_AGAIN_AFTER
    assert keys.verify(key) is None
    assert keys.verify(keys.create("gate")) == "gate"


def test_what_a_later_program_adds_survives(keys: ApiKeys, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(json.dumps({"version": 1, "keys": [{**ENTRY, "scope": "detect"}], "extra": 1}).encode())
    keys.create("gate")
    found = json.loads(path.read_bytes())
    assert (found["extra"], found["keys"][0]["scope"], len(found["keys"])) == (1, "detect", 2)


def test_a_full_disk_is_told_and_the_old_keys_stay(path: Path, clock: Clock) -> None:
    class Full(FileSystem):
        def sync_file(self, file: Any) -> None:
            raise OSError(28, "No space left on device")

    old = ApiKeys(path, clock=clock).create("forklift")
    full = ApiKeys(path, Full(), clock)
    with pytest.raises(NoRoom, match="could not store the API keys: the disk is full"):
        full.create("gate")
    assert full.verify(old) == "forklift"
    assert [key.name for key in full.list()] == ["forklift"]


def test_a_power_cut_while_a_key_is_made_leaves_the_keys_of_before_or_of_after(tmp_path: Path) -> None:
    made: list[str] = []

    def before(root: Path) -> None:
        made.append(ApiKeys(root / FILE_NAME).create("forklift"))

    def names(disk: Path) -> list[str]:
        return [key.name for key in ApiKeys(disk / FILE_NAME).list()]

    cut_short, finished = disks_after_every_cut(
        tmp_path, before, lambda files, root: ApiKeys(root / FILE_NAME, files).create("gate")
    )

    assert {tuple(names(disk)) for disk in cut_short} == {("forklift",), ("forklift", "gate")}
    assert all(names(disk) == ["forklift", "gate"] for disk in finished)
    assert all(ApiKeys(finished[0] / FILE_NAME).verify(key) == "forklift" for key in made[-1:])
