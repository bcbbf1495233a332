"""What `appliance demo` decides before it starts anything."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.demo import what_to_try, without_loop_settings
from appliance.cli.main import cli
from appliance.cli.place import Surroundings
from models.zoo import photograph


def test_the_loop_of_somebodys_robot_is_not_meant() -> None:
    environ = {
        "PATH": "/bin",
        "HOST": "learning-loop.ai",
        "LOOP_HOST": "learning-loop.ai",
        "PROJECT": "robots",
        "LOOP_PASSWORD": "sesame",
        "MODEL_FORMAT": "onnx",
        "NODE_HOST": "0.0.0.0",
        "DATA_FOLDER": "/data",
        "RUNTIME": "onnx/cpu/1",
    }
    assert without_loop_settings(environ) == {"PATH": "/bin", "RUNTIME": "onnx/cpu/1"}


@pytest.mark.parametrize("picture", [photograph(), Path("/home/me/my cup's.jpg")], ids=["that comes along", "quoted"])
def test_what_is_printed_can_be_pasted(picture: Path) -> None:
    printed = what_to_try("http://127.0.0.1:8004", "http://127.0.0.1:8014", picture)
    lines = [shlex.split(line.partition("curl ")[2]) for line in printed.splitlines() if "/detect" in line]
    assert lines == [
        ["-F", f"file=@{picture}", "http://127.0.0.1:8004/detect"],
        ["-F", f"file=@{picture}", "-H", "autoupload: all", "http://127.0.0.1:8004/detect"],
    ]
    assert "curl http://127.0.0.1:8014/api/demo/projects/everyday-objects/data" in printed
    assert "DetectorHardware(port=8004)" in printed


def test_box_and_loop_cannot_share_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(
        cli, ["demo", "--port", "8014", "--data-dir", str(tmp_path)], obj=Surroundings({}, tmp_path)
    )
    assert done.exit_code == 2
    assert "need a port each" in done.output
