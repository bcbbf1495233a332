"""Threads that may be lost: the others go on, and the program ends all the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from annotator_companion.threads import MOST_LOST, Threads

WITHIN_S = 30.0


def test_as_many_at_a_time_as_allowed_and_results_as_from_any_executor() -> None:
    gate, both = threading.Event(), threading.Barrier(3)

    def work(number: int) -> int:
        both.wait(WITHIN_S)
        assert gate.wait(WITHIN_S)
        return number

    with Threads(2) as threads:
        futures = [threads.submit(work, number) for number in range(2)]
        third = threads.submit(int, "7")
        both.wait(WITHIN_S)
        assert not third.done(), "both are busy"
        gate.set()
        assert [future.result(WITHIN_S) for future in (*futures, third)] == [0, 1, 7]
        with pytest.raises(ValueError, match="invalid literal"):
            threads.submit(int, "seven").result(WITHIN_S)
    with pytest.raises(RuntimeError, match="told to end"):
        threads.submit(int, "7")


def test_one_that_is_given_up_is_replaced_so_many_times() -> None:
    gate = threading.Event()
    threads = Threads(1)
    try:
        for _ in range(MOST_LOST):
            threads.submit(gate.wait, WITHIN_S)
            threads.give_one_up()
        assert threads.submit(int, "7").result(WITHIN_S) == 7
        threads.submit(gate.wait, WITHIN_S)
        threads.give_one_up()
        late: Future[int] = threads.submit(int, "7")
        assert threads.lost == MOST_LOST + 1
        assert not late.done()
    finally:
        gate.set()
        threads.shutdown()


def test_what_waits_is_cancelled_if_wished() -> None:
    gate = threading.Event()
    threads = Threads(1)
    begun = threads.submit(gate.wait, WITHIN_S)
    waits = threads.submit(int, "7")
    while not begun.running():
        pass
    threads.shutdown(cancel_futures=True)
    assert waits.cancelled()
    gate.set()
    assert begun.result(WITHIN_S)


def test_the_program_ends_while_one_never_comes_back() -> None:
    program = (
        "import threading; from annotator_companion.threads import Threads\n"
        "threads = Threads(1); threads.submit(threading.Event().wait); threads.shutdown(); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "done\n"
