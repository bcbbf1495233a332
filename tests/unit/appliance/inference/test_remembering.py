"""What was measured is found again under the same conditions only, and a damaged file costs nothing but time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.inference.remembering import MOST, Conditions, Memory
from models.fastest import Measured
from models.files import FILE_SYSTEM, FileSystem
from models.runtimes.base import Choice

HERE = Conditions("bundle-1", "aarch64|Cortex-A76|4", "auto", ("ai-edge-litert 2.3.0",), ("litert/edgetpu",))
WITHOUT = replace(HERE, accelerators=())
TPU = Measured(Choice("litert", "edgetpu", 1), 8.0)
CPU = Measured(Choice("litert", "cpu", 4), 35.5)
BROKEN = Measured(Choice("onnx", "cpu", 1), None, "killed the process that tried it")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "runtimes.json"


@pytest.fixture
def memory(path: Path) -> Memory:
    return Memory(path, FILE_SYSTEM)


def test_before_anything_was_measured_nothing_is_known(memory: Memory) -> None:
    assert memory.recall(HERE) is None
    assert memory.lost(HERE) is None


def test_what_was_measured_is_known_after_a_restart(memory: Memory, path: Path) -> None:
    memory.remember(HERE, [TPU, CPU, BROKEN])
    assert Memory(path, FILE_SYSTEM).recall(HERE) == [TPU, CPU, BROKEN]


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "bundle-2"},
        {"machine": "x86_64|Xeon|2"},
        {"wanted": "litert"},
        {"versions": ("ai-edge-litert 2.4.0",)},
        {"accelerators": ()},
    ],
)
def test_whatever_changes_it_is_measured_again(memory: Memory, change: dict[str, Any]) -> None:
    memory.remember(HERE, [TPU, CPU])
    assert memory.recall(replace(HERE, **change)) is None


def test_measuring_again_replaces_what_was_known(memory: Memory) -> None:
    memory.remember(HERE, [CPU])
    memory.remember(HERE, [TPU])
    assert memory.recall(HERE) == [TPU]


def test_the_oldest_is_forgotten_first(memory: Memory) -> None:
    for number in range(MOST + 5):
        memory.remember(replace(HERE, bundle=f"bundle-{number}"), [CPU])
    assert memory.recall(replace(HERE, bundle="bundle-4")) is None
    assert memory.recall(replace(HERE, bundle="bundle-5")) == [CPU]


DAMAGED = {
    "empty": b"",
    "cut off": b'[{"conditions": {"bundle": "bund',
    "no text": b"\xff\xfe\x00\x01",
    "another document": b'{"a": 1}',
    "other entries": b'[1, "two", null]',
    "an entry without milliseconds": json.dumps(
        [{"conditions": HERE.__dict__, "measured": [{"choice": {"runtime": "litert"}}]}]
    ).encode(),
    "of another type": json.dumps([{"conditions": HERE.__dict__, "measured": "fast"}]).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_as_good_as_none(
    memory: Memory, path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert memory.recall(HERE) is None
    assert memory.lost(HERE) is None
    assert "is measured again" in caplog.text
    memory.remember(HERE, [CPU])
    assert memory.recall(HERE) == [CPU]


def test_a_full_disk_is_no_reason_not_to_detect(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class FullDisk(FileSystem):
        def write_atomically(self, path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    Memory(path, FullDisk()).remember(HERE, [CPU])
    assert "what was measured cannot be kept: [Errno 28] No space left on device" in caplog.text


def test_an_accelerator_that_is_gone_is_missed(memory: Memory) -> None:
    memory.remember(HERE, [TPU, CPU])
    memory.remember(WITHOUT, [CPU])
    assert memory.lost(WITHOUT) == TPU.choice
    assert memory.lost(HERE) is None


def test_an_accelerator_that_was_no_faster_is_not_missed(memory: Memory) -> None:
    memory.remember(HERE, [replace(TPU, milliseconds=99.0), CPU])
    assert memory.lost(WITHOUT) is None


def test_what_the_accelerator_did_last_counts(memory: Memory) -> None:
    """With the libraries of today the CPU is faster."""
    memory.remember(replace(HERE, versions=("ai-edge-litert 1.0",)), [TPU, CPU])
    memory.remember(HERE, [replace(TPU, milliseconds=99.0), CPU])
    assert memory.lost(WITHOUT) is None


def test_an_accelerator_that_is_still_there_is_not_missed(memory: Memory) -> None:
    """Another one is gone, which was no faster."""
    memory.remember(replace(HERE, accelerators=("litert/edgetpu", "onnx/cuda")), [TPU, CPU])
    assert memory.lost(HERE) is None


@pytest.mark.parametrize("change", [{"bundle": "b"}, {"machine": "m"}, {"wanted": "litert/cpu"}])
def test_an_accelerator_of_another_model_box_or_setting_is_not_missed(memory: Memory, change: dict[str, Any]) -> None:
    memory.remember(HERE, [TPU, CPU])
    assert memory.lost(replace(WITHOUT, **change)) is None
