"""What a machine says of itself, read from one that is made of files."""

from __future__ import annotations

import platform
from pathlib import Path

from appliance.system.board import board, versions


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_raspberry_pi(tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    write(tmp_path, "etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    write(tmp_path, "proc/meminfo", "MemTotal:        3884000 kB\n")
    write(tmp_path, "proc/uptime", "11100.25 40000.00\n")
    write(tmp_path, "sys/class/net/eth9/operstate", "up\n")
    write(tmp_path, "sys/class/net/wlan9/operstate", "down\n")
    write(tmp_path, "sys/class/net/lo/operstate", "unknown\n")
    write(
        tmp_path,
        "proc/net/if_inet6",
        "fe80000000000000dea632fffe000001 02 40 20 80     eth9\n"
        "2a0200000000000000000000000000ff 02 40 00 80     eth9\nnonsense\n",
    )

    found = board(tmp_path)

    assert found.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert found.system == "Debian GNU/Linux 12 (bookworm)"
    assert found.memory_bytes == 3884000 * 1024
    assert found.uptime == 11100.25
    assert found.processors >= 1
    ethernet, wireless = found.networks
    assert (ethernet.name, ethernet.up, ethernet.addresses) == ("eth9", True, ("2a02::ff",))
    assert (wireless.name, wireless.up, wireless.addresses) == ("wlan9", False, ())


def test_a_pc_is_named_by_its_maker_unless_that_did_not_care(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "Intel\n")
    write(tmp_path, "sys/class/dmi/id/product_name", "NUC10i7FNH\n")
    assert board(tmp_path).model == "Intel NUC10i7FNH"

    write(tmp_path, "sys/class/dmi/id/sys_vendor", "To Be Filled By O.E.M.\n")
    write(tmp_path, "sys/class/dmi/id/product_name", "Default string\n")
    assert board(tmp_path).model == f"{platform.machine()} computer"


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    found = board(tmp_path)

    assert (found.memory_bytes, found.uptime, found.networks) == (None, None, ())


def test_versions_are_those_of_what_is_installed() -> None:
    found = versions()

    assert found["python"] == platform.python_version()
    assert {"detector-appliance", "numpy"} <= found.keys()
