"""Who answers the signals that ask a training to end."""

from __future__ import annotations

import signal

import pytest

from trainer_companion.stopping import Stopping, told_to_end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_the_end_and_then_does_again_what_it_did_before(number: signal.Signals) -> None:
    heard: list[int] = []
    signal.signal(number, lambda number, _frame: heard.append(number))
    stopping = Stopping()
    with told_to_end(stopping.request):
        assert not stopping.requested
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert (stopping.requested, heard) == (True, [])
    signal.raise_signal(number)
    assert heard == [number]
