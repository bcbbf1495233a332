"""These tests need PyTorch. Where it is missing nothing of them is collected; the test command says so."""

from __future__ import annotations

import importlib.util

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in a real training: threads that wait for each other by spinning are slow on a busy machine."""
    import torch

    torch.set_num_threads(1)
