"""By which uuid the Loop knows this box, over restarts, renaming, and after a learning-loop-node."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from models.files import FILE_SYSTEM, FileSystem
from models.identity import node_uuid
from tests.support.crashing_files import disks_after_every_cut

FIRST, SECOND = "33c5675a-4309-4d56-8b85-d3ae762ab62a", "176cc0c9-a8a0-45b1-9d72-7d0c3056f06a"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "uuids.json"


def written(path: Path, uuids: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(uuids))
    return path


def test_a_new_box_gets_a_uuid_and_keeps_it(path: Path) -> None:
    made = node_uuid(path, "robot", FILE_SYSTEM)

    assert uuid.UUID(made).version == 4
    assert node_uuid(path, "robot", FILE_SYSTEM) == made
    assert json.loads(path.read_text()) == {"robot": made}


def test_two_new_boxes_differ(path: Path, tmp_path: Path) -> None:
    assert node_uuid(path, "robot", FILE_SYSTEM) != node_uuid(tmp_path / "uuids.json", "robot", FILE_SYSTEM)


@pytest.mark.parametrize("name", ["Front Robot", "front_robot", "FRONT ROBOT"])
def test_the_uuid_of_a_learning_loop_node_is_found_under_its_spelling_of_the_name(path: Path, name: str) -> None:
    written(path, {"front_robot": FIRST, "rear_robot": SECOND})
    before = path.read_bytes()

    assert node_uuid(path, name, FILE_SYSTEM) == FIRST
    assert path.read_bytes() == before, "it is found as it is"


def test_a_box_with_another_name_keeps_the_only_uuid_there_is_and_the_node_finds_it_still(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    written(path, {"front_robot": FIRST})

    assert node_uuid(path, "raspberrypi", FILE_SYSTEM) == FIRST

    assert json.loads(path.read_text()) == {"front_robot": FIRST, "raspberrypi": FIRST}
    assert f"keeps the uuid {FIRST}, which it had as front_robot" in caplog.text
    caplog.clear()
    assert node_uuid(path, "raspberrypi", FILE_SYSTEM) == FIRST
    assert caplog.text == ""


def test_where_several_are_known_and_none_is_meant_a_new_one_is_made_and_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(path, {"front_robot": FIRST, "rear_robot": SECOND})

    made = node_uuid(path, "raspberrypi", FILE_SYSTEM)

    assert made not in {FIRST, SECOND}
    assert "knows front_robot, rear_robot, and none of them is raspberrypi" in caplog.text
    assert json.loads(path.read_text()) == {"front_robot": FIRST, "rear_robot": SECOND, "raspberrypi": made}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'"text"'])
def test_a_file_that_cannot_be_understood_is_kept_aside(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    made = node_uuid(path, "robot", FILE_SYSTEM)

    assert uuid.UUID(made)
    assert path.with_name("uuids.json.corrupt").read_bytes() == content
    assert "cannot be understood" in caplog.text
    assert node_uuid(path, "robot", FILE_SYSTEM) == made


def test_what_is_no_uuid_counts_for_nothing(path: Path) -> None:
    written(path, {"robot": None, "other": 7, "third": "", "fourth": "x" * 1000})
    assert uuid.UUID(node_uuid(path, "robot", FILE_SYSTEM))


def test_wherever_the_power_fails_the_uuid_of_the_node_is_kept(tmp_path: Path) -> None:
    def act(files: FileSystem, root: Path) -> None:
        assert node_uuid(root / "uuids.json", "raspberrypi", files) == FIRST

    def before(root: Path) -> None:
        written(root / "uuids.json", {"front_robot": FIRST})

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)

    for disk in [*cut_short, *finished]:
        assert node_uuid(disk / "uuids.json", "raspberrypi", FILE_SYSTEM) == FIRST


def test_a_disk_that_refuses_gives_a_uuid_until_the_next_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(FileSystem):
        def rename(self, source: Path, target: Path) -> None:
            raise PermissionError(13, "Permission denied")

    assert uuid.UUID(node_uuid(path, "robot", Refusing()))
    assert "changes with the next start" in caplog.text
