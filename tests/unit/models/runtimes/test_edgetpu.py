"""Finding an Edge TPU and asking for its delegate, on machines that the test makes up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import RuntimeMissing
from models.runtimes import edgetpu

GOOGLE, UNICHIP = ("18d1", "9302"), ("1a6e", "089a")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A file system with a hub, a mouse, and a device that is being pulled out."""
    usb = tmp_path / "sys/bus/usb/devices"
    plug_in(tmp_path, "1-1", ("046d", "c077"))
    (usb / "usb1").mkdir()
    (usb / "1-2").mkdir()
    (usb / "1-2" / "idVendor").write_text("18d1\n")
    (tmp_path / "dev").mkdir()
    return tmp_path


def plug_in(machine: Path, port: str, ids: tuple[str, str]) -> None:
    device = machine / "sys/bus/usb/devices" / port
    device.mkdir(parents=True)
    (device / "idVendor").write_text(f"{ids[0]}\n")
    (device / "idProduct").write_text(f"{ids[1]}\n")


Install = Callable[[dict[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package `pycoral` (file name -> text) for the time of one test."""

    def written(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / "site" / "pycoral" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path / "site")

    yield written
    for name in [*sys.modules]:
        if name.split(".", maxsplit=1)[0] == "pycoral":
            del sys.modules[name]


def test_most_boxes_have_none(machine: Path, tmp_path: Path) -> None:
    assert edgetpu.devices(machine) == []
    assert edgetpu.devices(tmp_path / "no such file system") == []


@pytest.mark.parametrize("ids", [UNICHIP, GOOGLE], ids=["before", "after its firmware is loaded"])
def test_one_on_usb_is_seen(machine: Path, ids: tuple[str, str]) -> None:
    plug_in(machine, "2-1", ids)
    assert edgetpu.devices(machine) == [str(machine / "sys/bus/usb/devices/2-1")]


def test_all_of_them_are_seen_on_pcie_too(machine: Path) -> None:
    plug_in(machine, "2-1", GOOGLE)
    for number in range(2):
        (machine / "dev" / f"apex_{number}").touch()
    found = edgetpu.devices(machine)
    assert [Path(path).name for path in found] == ["apex_0", "apex_1", "2-1"]


def test_google_s_pycoral_is_asked_where_it_is_installed(machine: Path, install: Install) -> None:
    listing = "def list_edge_tpus():\n    return [{'type': 'usb', 'path': '/sys/bus/usb/devices/4-1'}]\n"
    install({"__init__.py": "", "utils/__init__.py": "", "utils/edgetpu.py": listing})
    assert edgetpu.devices(machine) == ["/sys/bus/usb/devices/4-1"]


@pytest.mark.parametrize(
    "files",
    [
        {"__init__.py": "reefs = ['Great Barrier Reef']\n"},
        {"__init__.py": "", "utils/__init__.py": "", "utils/edgetpu.py": "from . import _pywrap_coral\n"},
        {"__init__.py": "", "utils/__init__.py": "", "utils/edgetpu.py": "depth = 12\n"},
    ],
    ids=["about coral reefs", "without libedgetpu", "with another module of that name"],
)
def test_another_pycoral_is_not_asked(machine: Path, install: Install, files: dict[str, str]) -> None:
    plug_in(machine, "2-1", GOOGLE)
    install(files)
    assert len(edgetpu.devices(machine)) == 1


def loader(outcome: object) -> tuple[Callable[[str], Any], list[str]]:
    """A `load_delegate` that returns or raises `outcome`, and what it was asked for."""
    asked: list[str] = []

    def load_delegate(library: str) -> object:
        asked.append(library)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return load_delegate, asked


def test_the_delegate_is_really_asked_for(machine: Path) -> None:
    load_delegate, asked = loader("the delegate")
    assert edgetpu.delegate(load_delegate, machine) == "the delegate"
    assert asked == ["libedgetpu.so.1"]


def test_a_missing_library_is_told_with_the_package_that_has_it(machine: Path) -> None:
    load_delegate, _ = loader(OSError("libedgetpu.so.1: cannot open shared object file: No such file or directory"))
    with pytest.raises(RuntimeMissing, match=r"libedgetpu\.so\.1 is not installed.*libedgetpu1-std"):
        edgetpu.delegate(load_delegate, machine)


def test_no_answer_and_nothing_plugged_in(machine: Path) -> None:
    load_delegate, _ = loader(ValueError("Failed to load delegate from libedgetpu.so.1"))
    with pytest.raises(RuntimeMissing, match="does not answer: no Edge TPU is plugged in"):
        edgetpu.delegate(load_delegate, machine)


def test_no_answer_although_one_is_plugged_in(machine: Path) -> None:
    (machine / "dev" / "apex_0").touch()
    load_delegate, _ = loader(ValueError("Failed to load delegate from libedgetpu.so.1"))
    with pytest.raises(RuntimeMissing, match=r"apex_0 is there but does not answer: is another program using it"):
        edgetpu.delegate(load_delegate, machine)
