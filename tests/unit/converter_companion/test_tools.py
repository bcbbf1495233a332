"""The child that makes LiteRT: what it says, how it dies, and which Python it is."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from converter_companion import tools
from models.errors import ModelFailed, RuntimeMissing

PYTHON = Path(sys.executable)


def run(program: str, *, within: float = 60.0, stopped: threading.Event | None = None) -> list[tuple[float, str]]:
    told: list[tuple[float, str]] = []
    tools.run(PYTHON, ["-c", program], lambda share, doing: told.append((share, doing)), within=within, stopped=stopped)
    return told


SAY = "import json, sys\ndef say(**line): print(json.dumps(line), flush=True)\n"


def test_its_lines_are_progress_and_what_libraries_print_is_not() -> None:
    program = (
        SAY + "print('WARNING: I am a library'); print('{\"no\": 1}')\nsay(event='progress', share=0.5, doing='half')\n"
    )
    assert run(program + "say(event='done')") == [(0.5, "half")]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        pytest.param(
            SAY + "say(event='failed', message='ValueError: no layer')", "failed: ValueError: no layer", id="says"
        ),
        pytest.param("import os; os.abort()", "died of SIGABRT", id="crashes"),
        pytest.param(
            "raise SystemExit('no memory left')", "status 1 without saying why. Its last words: no memory", id="exits"
        ),
        pytest.param("import litert_nowhere", "No module named 'litert_nowhere'", id="lacks a library"),
    ],
)
def test_its_death_becomes_a_sentence(program: str, sentence: str) -> None:
    with pytest.raises(ModelFailed) as raised:
        run(program)
    assert sentence in str(raised.value)


def test_it_is_ended_with_its_children_when_it_takes_too_long(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    sleeps = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    with pytest.raises(ModelFailed, match="not done within 3 s"):
        run(f"{sleeps}open({str(note)!r}, 'w').write(str(p.pid)); p.wait()", within=3.0)
    pid = int(note.read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child's child still runs"
        time.sleep(0.05)


def test_it_is_ended_when_nobody_wants_it_any_more() -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(ModelFailed, match="was stopped"):
        run("import time; time.sleep(600)", stopped=stopped)


def test_it_gets_our_sources_and_nothing_else_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    program = SAY + "import models, networks, converter_companion, os\n"
    program += (
        "say(event='progress', share=1.0, doing=' '.join([*sorted(os.listdir('.')), os.environ['PYTHONPATH']]))\n"
    )
    [(_, doing)] = run(program + "say(event='done')")
    *listed, path = doing.split()
    assert listed == ["converter_companion", "models", "networks"]
    assert "/somewhere/else" not in path
    assert not Path(path).exists(), "it is gone afterwards"


def fake_python(path: Path, *, knows: bool) -> Path:
    """Something that answers as a Python with or without the libraries does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {0 if knows else 1}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "NEEDED", ("litert_nowhere",))


@pytest.mark.usefixtures("without_libraries")
def test_the_configured_python_comes_before_the_installed_one(tmp_path: Path) -> None:
    configured = fake_python(tmp_path / "other" / "python", knows=True)
    installed = fake_python(tmp_path / tools.FOLDER / "bin" / "python", knows=True)
    (tmp_path / tools.FOLDER / tools.COMPLETE).touch()
    assert tools.find_python(configured, tmp_path) == configured
    assert tools.find_python(None, tmp_path) == installed


@pytest.mark.usefixtures("without_libraries")
def test_where_there_is_none_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match="converter-companion install-tools"):
        tools.find_python(None, tmp_path)
    with pytest.raises(RuntimeMissing, match="LITERT_TOOLS_PYTHON names"):
        tools.find_python(fake_python(tmp_path / "python", knows=False), tmp_path)
    with pytest.raises(RuntimeMissing, match="LITERT_TOOLS_PYTHON names"):
        tools.find_python(tmp_path / "nothing", tmp_path)
    fake_python(tmp_path / tools.FOLDER / "bin" / "python", knows=True)  # by an installation that was interrupted
    with pytest.raises(RuntimeMissing, match="install-tools"):
        tools.find_python(None, tmp_path)


def test_this_python_is_taken_if_it_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "NEEDED", ("json", "os"))
    assert tools.find_python(Path("/nowhere"), tmp_path) == PYTHON
    assert os.access(PYTHON, os.X_OK)
