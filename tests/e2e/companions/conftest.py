"""These tests need PyTorch and a Python with litert-torch (LITERT_TOOLS_PYTHON). Without them nothing is collected here; the
test command says so.
"""

from __future__ import annotations

import importlib.util
import os

collect_ignore_glob = (
    [] if importlib.util.find_spec("torch") and os.environ.get("LITERT_TOOLS_PYTHON") else ["test_*.py"]
)
