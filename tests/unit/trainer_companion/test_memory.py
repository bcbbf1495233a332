"""How many pictures fit, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer_companion.memory import AgainWithLess, OutOfMemory, largest, most_pictures, out_of_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("room", "most", "expected"),
    [(64, 64, 64), (63, 64, 32), (5, 64, 4), (1, 64, 1), (0, 64, 0), (100, 48, 48), (40, 48, 32)],
)
def test_sizes_are_tried_upwards_and_never_beyond_the_first_failure(room: int, most: int, expected: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= room

    assert largest(fits, most) == expected
    assert tried == sorted(set(tried))
    assert sum(size > room for size in tried) <= 1
    assert max(tried) <= most


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_every_way_to_run_out_of_memory_is_one(error: Exception) -> None:
    with pytest.raises(OutOfMemory), out_of_memory():
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), out_of_memory():
        raise RuntimeError("shape mismatch")


def test_several_processes_are_started_again_with_less(tmp_path: Path) -> None:
    assert most_pictures(0, tmp_path, CPU) == 8
    assert most_pictures(32, tmp_path, CPU) == 32
    error = AgainWithLess(tmp_path, 4)
    assert "goes on with 4" in str(error)
    assert most_pictures(32, tmp_path, CPU) == 4
