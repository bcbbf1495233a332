"""How busy and how hot accelerators are, read from machines that are made of files, and from a made-up `nvidia-smi`."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from appliance import accelerator_vitals
from appliance.accelerator_vitals import (
    EVERY_S,
    FIND_EVERY_S,
    LEFT_ALONE_S,
    Accelerators,
    AcceleratorVitals,
    ask_child,
    parse,
)
from appliance.vitals import Machine

NOTHING = AcceleratorVitals(None, None)


class Board:
    """A machine below `root`, whose `nvidia-smi` says `answer`, and a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seconds = 1000.0
        self.answer: str | None = None
        self.asked: list[Sequence[str]] = []
        self.accelerators = Accelerators(root, self._ask, lambda: self.seconds)

    def _ask(self, command: Sequence[str]) -> str | None:
        self.asked.append(command)
        return self.answer

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def look(self) -> AcceleratorVitals:
        return self.accelerators.look()


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "sys/devices/gpu.0/load",
        "sys/devices/platform/gpu.0/load",
        "sys/class/devfreq/57000000.gpu/device/load",
        "sys/class/devfreq/17000000.gv11b/device/load",
        "sys/class/devfreq/17000000.gp10b/device/load",
        "sys/class/devfreq/17000000.ga10b/device/load",
        "sys/class/devfreq/17000000.gpu/device/load",
        "sys/devices/platform/bus@0/17000000.gpu/load",
    ],
)
def test_a_jetson_tells_per_mille_wherever_its_jetpack_has_put_it(board: Board, path: str) -> None:
    board.write(path, "437\n")
    assert board.look() == AcceleratorVitals(43.7, None)
    assert board.asked == [], "nvidia-smi of a Jetson knows nothing"


@pytest.mark.parametrize("zone", ["gpu-thermal", "GPU-therm"])
def test_a_jetson_tells_how_hot_its_gpu_is_unless_that_is_switched_off(board: Board, zone: str) -> None:
    board.write("sys/devices/platform/gpu.0/load", "0\n")
    board.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    board.write("sys/class/thermal/thermal_zone0/temp", "71000\n")
    board.write("sys/class/thermal/thermal_zone1/type", f"{zone}\n")
    board.write("sys/class/thermal/thermal_zone1/temp", "48500\n")
    assert board.look() == AcceleratorVitals(0.0, 48.5)

    board.write("sys/class/thermal/thermal_zone1/temp", "-256000\n")
    assert board.look() == AcceleratorVitals(0.0, None)
    (board.root / "sys/class/thermal/thermal_zone1/temp").unlink()
    assert board.look() == AcceleratorVitals(0.0, None)


def test_the_hottest_edge_tpu_counts_and_its_load_is_not_known(board: Board) -> None:
    board.write("sys/class/apex/apex_0/temp", "51300\n")
    board.write("sys/class/apex/apex_1/temp", "62800\n")
    assert board.look() == AcceleratorVitals(None, 62.8)


@pytest.mark.parametrize("text", ["", "nonsense", "-1"])
def test_a_file_that_tells_nothing_is_no_error(board: Board, text: str) -> None:
    board.write("sys/devices/gpu.0/load", text)
    assert board.look() == NOTHING


def test_what_appears_later_is_found(board: Board) -> None:
    assert board.look() == NOTHING
    board.write("sys/devices/gpu.0/load", "1000\n")
    assert board.look() == NOTHING
    board.seconds += FIND_EVERY_S
    assert board.look() == AcceleratorVitals(100.0, None)


def test_nvidia_smi_is_asked_now_and_then(board: Board) -> None:
    board.answer = "37, 61\n"
    assert board.look() == AcceleratorVitals(37.0, 61.0)
    board.answer = "40, 62\n"
    board.seconds += EVERY_S - 0.1
    assert board.look() == AcceleratorVitals(37.0, 61.0)
    board.seconds += 0.1
    assert board.look() == AcceleratorVitals(40.0, 62.0)
    assert len(board.asked) == 2
    assert board.asked[0][0] == "nvidia-smi"


@pytest.mark.parametrize("answer", [None, "", "NVIDIA-SMI has failed"])
def test_where_it_fails_it_is_left_alone_for_a_while(board: Board, answer: str | None) -> None:
    board.answer = answer
    for _ in range(5):
        assert board.look() == NOTHING
        board.seconds += EVERY_S
    assert len(board.asked) == 1
    board.seconds += LEFT_ALONE_S
    board.answer = "1, 40\n"
    assert board.look() == AcceleratorVitals(1.0, 40.0)


@pytest.mark.parametrize(
    ("answer", "vitals"),
    [
        ("0, 33\n", AcceleratorVitals(0.0, 33.0)),
        ("12, 40\n97, 71\n3, 80\n", AcceleratorVitals(97.0, 80.0)),
        ("[N/A], [N/A]\n", NOTHING),
        ("[Not Supported], 45\n", AcceleratorVitals(None, 45.0)),
        ("[N/A], 45\n55, 50\n", AcceleratorVitals(55.0, 50.0)),
        ("1,2,3\n", NOTHING),
        ("999, 40\n", AcceleratorVitals(None, 40.0)),
        ("", NOTHING),
    ],
)
def test_what_it_says(answer: str, vitals: AcceleratorVitals) -> None:
    assert parse(answer) == vitals


Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts an `nvidia-smi` in the way, with this as its script."""

    def make(script: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_a_child_is_asked(program: Program) -> None:
    program('echo "$1 $2"')
    assert ask_child(("nvidia-smi", "one", "two")) == "one two\n"


def test_a_child_that_fails_or_hangs_or_is_not_there_says_nothing(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("exit 9")
    assert ask_child(("nvidia-smi",)) is None
    monkeypatch.setattr(accelerator_vitals, "LONGEST_S", 0.1)
    program("exec sleep 60")
    assert ask_child(("nvidia-smi",)) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert ask_child(("nvidia-smi",)) is None


def test_the_machine_tells_of_them(board: Board) -> None:
    board.write("sys/devices/gpu.0/load", "250\n")
    machine = Machine(board.root, board.root, board.accelerators)
    assert machine.look().accelerator == AcceleratorVitals(25.0, None)
    assert Machine(board.root, board.root).look().accelerator == NOTHING
