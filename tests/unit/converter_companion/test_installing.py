"""`install-tools`: goes on where it was, and says what went wrong. pip is played by a script."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from converter_companion import installing, tools
from converter_companion.cli import main
from models.errors import ModelFailed, NoRoom
from models.files import FileSystem

LINES = """echo 'Collecting torch==2.13.0 (from -r /a/b/requirements.txt (line 7))'
echo '  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.3 MB)'
echo 'Requirement already satisfied: numpy'
echo 'Installing collected packages: mpmath, sympy, torch'"""

NO_INDEX = "http://127.0.0.1:9/simple"


def environment(data_folder: Path, pip: str, *, works: bool = True) -> Path:
    """A virtual environment whose pip does `pip` (shell), in which the libraries are found or not."""
    python = data_folder / tools.FOLDER / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exit {0 if works else 1}; fi\n{pip}\n')
    python.chmod(0o755)
    return python


def test_everything_that_is_pinned_is_installed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = tmp_path / "calls"
    python = environment(tmp_path, f'echo "$@" >> {calls}\n{LINES}')
    told: list[str] = []
    assert installing.install(tmp_path, told.append, NO_INDEX) == python
    assert told == [
        "Collecting torch==2.13.0",
        "Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.3 MB)",
        "Unpacking 3 packages; that takes a minute or two",
    ]
    [line] = calls.read_text().splitlines()
    assert f"--extra-index-url {NO_INDEX}" in line
    listed = Path(line.split()[-1]).read_text()
    for name in ("torch==2.13.0", "litert-torch==", "ai-edge-quantizer==", "typing_extensions<", "pydantic"):
        assert name.rstrip("<") in listed
    assert tools.find_python(None, tmp_path) == python
    assert main(["install-tools", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"Everything is installed already. Conversions to litert use {python}.\n"
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("pip", "sentence"),
    [
        pytest.param(
            'echo "WARNING: NewConnectionError: Failed to establish a new connection"\n'
            "echo 'ERROR: No matching distribution found for torch==2.13.0'\nexit 1",
            "is there a network",
            id="no network",
        ),
        pytest.param(
            "echo 'ERROR: ResolutionImpossible'\nexit 1", "could not install the tools: ERROR: Reso", id="pins"
        ),
        pytest.param(
            "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device'\nexit 1",
            "The disk became full: ERROR: Could not",
            id="no room",
        ),
        pytest.param("kill -9 $$", "could not install the tools: nothing", id="killed"),
    ],
)
def test_a_failed_installation_is_told_and_gone_on_with(pip: str, sentence: str, tmp_path: Path) -> None:
    python = environment(tmp_path, pip)
    with pytest.raises((ModelFailed, NoRoom), match=sentence) as raised:
        installing.install(tmp_path, lambda _: None, NO_INDEX)
    assert "The same command" in str(raised.value)
    assert not (tmp_path / tools.FOLDER / tools.COMPLETE).exists()
    python.write_text("#!/bin/sh\nexit 0\n")
    assert installing.install(tmp_path, lambda _: None, NO_INDEX) == python


def test_an_installation_in_which_nothing_can_be_imported_is_told(tmp_path: Path) -> None:
    environment(tmp_path, "exit 0", works=False)
    with pytest.raises(ModelFailed, match="cannot import litert_torch"):
        installing.install(tmp_path, lambda _: None, NO_INDEX)


def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(tmp_path: Path) -> None:
    class Full(FileSystem):
        def free_bytes(self, folder: Path) -> int:
            return 10**9

    environment(tmp_path, "exit 1")
    with pytest.raises(NoRoom, match="1000 MB free; 2200 MB are needed"):
        installing.install(tmp_path, lambda _: None, NO_INDEX, Full())


def test_the_command_says_what_it_will_do_before_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(tmp_path, "exit 1")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["install-tools", "--data-dir", str(tmp_path), "--index", NO_INDEX]) == 130
    said = capsys.readouterr().out
    assert "litert-torch==0.10.0" in said
    assert "2.2 GB of disk" in said
    assert NO_INDEX in said
    assert str(tmp_path) in said


@pytest.mark.parametrize("there", [True, False])
def test_without_an_index_of_its_own_pytorchs_is_taken_if_it_can_be_reached(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as address:
        monkeypatch.setattr(installing, "CPU_INDEX", address if there else NO_INDEX)
        found = installing.extra_index(None)
        assert found == (address if there else None)
        said = installing.announcement(Path("/data"), found)
    assert ("up to 8 GB of disk" in said) is not there, "PyTorch with CUDA is several times as large"
    assert installing.extra_index("http://own") == "http://own"


class Index(BaseHTTPRequestHandler):
    """Says that it is there."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def listening() -> Iterator[str]:
    """The address of an index."""
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        finally:
            server.shutdown()
            thread.join()
