"""For all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

# A shell starts what it puts into the background with this signal ignored, and children inherit that: programs that tests
# interrupt would never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _signals_are_given_back() -> Iterator[None]:
    """Who answers these belongs to the whole process, and commands claim it: one test must not decide how the next one ends."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
