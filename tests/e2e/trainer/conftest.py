"""These tests need PyTorch. Where it is missing nothing of them is collected; the test command says so."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
