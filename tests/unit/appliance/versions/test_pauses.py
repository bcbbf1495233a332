"""How long to wait before the next try."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.versions.holding import FREE_TRIES, MAX_HOLDS, Holds
from appliance.versions.pauses import pause
from appliance.versions.plan import BLIND_RETRY_SECONDS

KEY = ("m", "litert")


def test_pauses_double_up_to_the_cap() -> None:
    assert [pause(failures, first=5, cap=60) for failures in range(1, 7)] == [5, 10, 20, 40, 60, 60]


@given(st.integers(0, 10**9), st.floats(0.1, 100), st.floats(1, 10_000), st.floats(0, 1))
def test_chance_moves_them_but_never_beyond_the_cap(failures: int, first: float, cap: float, chance: float) -> None:
    seconds = pause(failures, first=first, cap=cap, chance=chance)
    assert min(first, cap) * 0.79 <= seconds <= cap


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_corrected_bytes_are_taken_at_once_a_few_times_and_ever_more_slowly_then() -> None:
    holds = Holds(Clock())
    until = []
    for _ in range(FREE_TRIES + 9):
        holds.bytes_failed(KEY, "NaN", blind=False)
        until.append(holds.by_file[KEY].until if KEY in holds.by_file else 0.0)
    assert until == [0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    holds.works(KEY)
    holds.bytes_failed(KEY, "NaN", blind=False)
    assert holds.by_file == {}, "it did serve meanwhile"


def test_bytes_that_nothing_tells_from_others_are_left_alone_for_long() -> None:
    holds = Holds(Clock())
    holds.bytes_failed(KEY, "NaN", blind=True)
    assert holds.by_file[KEY].until == BLIND_RETRY_SECONDS


def test_what_the_loop_asks_for_is_bounded() -> None:
    holds = Holds(Clock())
    holds.for_now(KEY, "later", at_least=1e9)
    assert holds.by_file[KEY].until == 3600


def test_a_wish_forgets_the_pauses_of_that_model_alone() -> None:
    holds = Holds(Clock())
    for key in (KEY, ("m", "onnx"), ("other", "litert")):
        holds.for_now(key, "no")
    holds.forget("m")
    assert list(holds.by_file) == [("other", "litert")]


def test_a_flood_of_models_does_not_fill_the_memory() -> None:
    holds = Holds(Clock())
    for number in range(20 * MAX_HOLDS):
        holds.for_now((str(number), "litert"), "no")
        holds.bytes_failed((f"b{number}", "litert"), "no", blind=False)
    assert len(holds.by_file) <= MAX_HOLDS
    assert len(holds._vain) <= 10 * MAX_HOLDS
