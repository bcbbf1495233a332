"""How the machine fares, read from a machine that is made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.vitals import Machine

MEMINFO = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    6000000 kB\n"


def write(root: Path, path: str, text: str) -> None:
    """A file of the machine."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def stat(busy: int, idle: int, waiting: int = 0) -> str:
    """The first lines of /proc/stat."""
    return f"cpu  {busy} 0 0 {idle} {waiting} 0 0 0 999 999\ncpu0 1 2 3 4 5 6 7 8 9 10\n"


def test_the_processor_is_that_of_the_time_between_two_looks(tmp_path: Path) -> None:
    write(tmp_path, "proc/stat", stat(1000, 9000))
    machine = Machine(tmp_path, tmp_path)
    assert machine.look().cpu is None

    write(tmp_path, "proc/stat", stat(1025, 9050, 25))  # waiting for the disk is no work
    assert machine.look().cpu == pytest.approx(25.0)


def test_the_memory_is_what_cannot_be_had(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", MEMINFO)

    assert Machine(tmp_path, tmp_path).look().memory == pytest.approx(25.0)


def test_the_temperature_is_that_of_the_hottest_part_and_sensors_that_are_off_do_not_count(tmp_path: Path) -> None:
    for number, text in enumerate(["45500\n", "61200\n", "-273000\n", "nonsense"]):
        write(tmp_path, f"sys/class/thermal/thermal_zone{number}/temp", text)

    assert Machine(tmp_path, tmp_path).look().temperature == pytest.approx(61.2)


def test_a_pc_tells_its_temperature_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/hwmon/hwmon2/temp1_input", "52000\n")

    assert Machine(tmp_path, tmp_path).look().temperature == pytest.approx(52.0)


@pytest.mark.parametrize(
    ("throttled", "weak"), [("50005\n", True), ("50000\n", False), ("0\n", False), ("nonsense", False)]
)
def test_a_raspberry_pi_says_when_its_power_is_too_weak_now(tmp_path: Path, throttled: str, weak: bool) -> None:
    write(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", throttled)

    assert Machine(tmp_path, tmp_path).look().under_voltage is weak


def test_newer_kernels_raise_an_alarm_instead(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1\n")

    assert Machine(tmp_path, tmp_path).look().under_voltage


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    vitals = Machine(tmp_path / "gone", tmp_path).look()

    assert (vitals.cpu, vitals.memory, vitals.temperature, vitals.free_bytes) == (None, None, None, None)
    assert not vitals.under_voltage


def test_this_machine_tells_what_linux_tells() -> None:
    vitals = Machine(Path.cwd()).look()

    assert vitals.memory is not None
    assert 0 < vitals.memory < 100
    assert vitals.free_bytes is not None
