"""How many processes a training gets where nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer_companion.running import cards


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, 4),
        ("", 0),
        ("1", 1),
        ("0,2", 2),
        ("0, 1,2,3", 4),
        ("-1", 0),
        ("0,-1,1", 1),
        ("GPU-8932f937", 1),
        ("0,1,2,3,4,5", 4),
    ],
)
def test_a_training_gets_a_process_for_each_card_that_it_would_see(
    tmp_path: Path, visible: str | None, expected: int
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert cards(environment, tmp_path) == expected
