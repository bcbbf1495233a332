"""The right to train on a machine that several trainers share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_companion.slot import Slot

OTHER = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate()
file.write("pid 1 on elsewhere, node x, training #9 of a/b")
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


def test_without_a_file_it_is_always_free() -> None:
    slot = Slot(None)
    assert (slot.holder(), slot.claim("training 1"), slot.held) == (None, None, True)
    slot.release()
    assert not slot.held


def test_one_has_it_at_a_time_and_its_name_is_told(tmp_path: Path) -> None:
    mine, yours = Slot(tmp_path / "slot"), Slot(tmp_path / "slot")
    assert mine.claim("node a, training 1") is None
    assert mine.claim("node a, training 1") is None  # it has it
    assert mine.holder() is None
    held = f"pid {os.getpid()} on "
    assert (yours.holder() or "").startswith(held)
    assert (yours.claim("node b, training 2") or "").endswith("node a, training 1")
    assert not yours.held
    mine.release()
    assert (tmp_path / "slot").read_text() == ""
    assert yours.holder() is None
    assert yours.claim("node b, training 2") is None
    yours.release()


def test_a_trainer_that_dies_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "slot"
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        slot = Slot(path)
        assert slot.holder() == "pid 1 on elsewhere, node x, training #9 of a/b"
        assert slot.claim("mine") == "pid 1 on elsewhere, node x, training #9 of a/b"
        other.kill()
        other.wait()
        assert slot.claim("mine") is None
        slot.release()


def test_others_may_write_to_it_and_children_do_not_keep_it(tmp_path: Path) -> None:
    slot = Slot(tmp_path / "slot")
    slot.claim("mine")
    assert (tmp_path / "slot").stat().st_mode & 0o777 == 0o666
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        slot.release()
        assert Slot(tmp_path / "slot").holder() is None
        child.kill()


def test_a_file_that_cannot_be_opened_is_no_slot(tmp_path: Path) -> None:
    slot = Slot(tmp_path / "missing" / "slot")
    assert slot.holder() is None
    with pytest.raises(OSError):
        slot.claim("mine")
