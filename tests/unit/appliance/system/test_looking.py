"""What a doctor sees of machines that are made of files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.system import looking
from appliance.system.facts import Power
from models.files import FileSystem

MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p2 rw
30 22 0:25 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=800000k
31 22 8:2 / /srv/my\\040data rw shared:6 - vfat /dev/sda1 rw
32 22 0:40 / /srv/over rw shared:7 - ext4 /dev/sdb1 rw
33 32 0:41 / /srv/over rw shared:8 - tmpfs tmpfs rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/detector", "ext4"),
        ("/run/detector", "tmpfs"),
        ("/runner", "ext4"),
        ("/srv/my data/box", "vfat"),
        ("/srv/over", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)

    assert looking.file_system(Path(path), tmp_path) == kind


def test_a_machine_without_proc_says_nothing(tmp_path: Path) -> None:
    assert looking.file_system(Path("/srv"), tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0\n", Power()),
        ("50005\n", Power(True, True, True, True)),
        ("throttled=0x50000\n", Power(False, False, True, True)),
        ("throttled=0x1\n", Power(under_voltage=True)),
        ("throttled=0x2\n", Power(throttled=True)),
        ('error=1 error_msg="Command not registered"', Power()),
    ],
)
def test_a_raspberry_pi_tells_of_its_power(tmp_path: Path, text: str, expected: Power) -> None:
    assert looking.power(tmp_path, lambda: text) == expected

    file = tmp_path / looking.SYSFS_THROTTLED
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert looking.power(tmp_path, lambda: None) == expected


def test_other_machines_say_nothing_of_their_power(tmp_path: Path) -> None:
    assert looking.power(tmp_path, lambda: None) == Power()


def test_a_disk_that_takes_what_is_written_has_no_problem_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    found = looking.disk(tmp_path)

    assert found.problem is None
    assert found.free is not None
    assert found.total is not None
    assert 0 < found.free <= found.total
    assert list(tmp_path.iterdir()) == []


class Worn(FileSystem):
    """A disk that fails when it is written to."""

    def write_file(self, path: Path, chunks: Iterable[bytes]) -> int:
        path.touch()
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_fails_says_so(tmp_path: Path) -> None:
    assert looking.disk(tmp_path, files=Worn()).problem == "Input/output error."
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_made_later_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    assert looking.disk(tmp_path / "not" / "yet").problem is None
    assert not (tmp_path / "not").exists()


def test_an_edge_tpu_needs_its_library(tmp_path: Path) -> None:
    assert looking.edge_tpu(tmp_path, lambda _name: None).library, "nobody needs it where none is plugged in"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()

    without = looking.edge_tpu(tmp_path, lambda _name: None)
    assert without.devices == (str(tmp_path / "dev/apex_0"),)
    assert not without.library
    assert looking.edge_tpu(tmp_path, lambda _name: "libedgetpu.so.1").library


def test_the_clock_is_that_of_the_machine() -> None:
    assert looking.clock(lambda: 12.5).now == 12.5
    assert looking.clock().kept in (True, False, None)
