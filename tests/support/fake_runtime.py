"""A runtime whose accelerator is plugged in and pulled out by the test: named `coral` in the table of runtimes.

monkeypatch.setitem(runtimes.BUILT_IN, "coral", FAKE_RUNTIME)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from models.bundle_format import WeightsSpec
from models.errors import ModelFailed
from models.runtimes.base import Choice, LoadedModel

FAKE_RUNTIME = "tests.support.fake_runtime:FakeRuntime"


class Socket:
    """Where accelerators are plugged in. `broken`: asking for them fails in a way that no runtime should."""

    plugged_in: ClassVar[set[str]] = set()
    version = "1.0"
    broken = False
    looks = 0

    @classmethod
    def empty(cls) -> None:
        """As at the beginning."""
        cls.plugged_in, cls.version, cls.broken, cls.looks = set(), "1.0", False, 0


class FakeRuntime:
    """See `models.runtimes.base.Runtime`."""

    name = "coral"

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        return [Choice(self.name, weights.accelerator, 1)]

    def present(self, accelerator: str) -> bool:
        Socket.looks += 1
        if Socket.broken:
            raise ZeroDivisionError("a driver's bug")
        return accelerator == "cpu" or accelerator in Socket.plugged_in

    def version(self) -> str:
        return f"coral {Socket.version}"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> LoadedModel:
        raise ModelFailed("This runtime only shows what is plugged in")
