"""Real worker processes, killed, stopped and misused, while pictures come on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from appliance.inference.choosing import Chooser
from appliance.inference.supervisor import Counters, InferenceLimits, Picture, Seen, Supervisor
from models.bundle import Bundle, open_bundle
from models.errors import ImageUnreadable, InputTooLarge, ModelFailed, OutputsImplausible, WorkerLost
from models.zoo import seed_folder
from tests.service.photographs import CHELSEA
from tests.support.unruly_runtime import install, picture, unruly_bundle

SIMPLE = "unruly/cpu/1"
"""A forced way: nothing is measured."""


@pytest.fixture(scope="module", autouse=True)
def _unruly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The runtime `unruly` is installed, for this process and for those that it starts."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        patch.setenv("UNRULY_PLUG", str(site / "plugged in"))
        yield


@pytest.fixture
def plug() -> Iterator[Path]:
    """The file that stands for an accelerator."""
    path = Path(os.environ["UNRULY_PLUG"])
    yield path
    path.unlink(missing_ok=True)
