"""How many pictures the filter may pick, as a camera meets it hour by hour, and against a plain count."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.budgets import HOUR, SEED_PICKS_PER_HOUR, OverBudget, PickBudgets


@dataclass
class Clock:
    """Seconds, moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def asked(budgets: PickBudgets, camera: str | None, times: int, *, seed: bool = False) -> list[OverBudget | None]:
    """What becomes of so many pictures."""
    return [budgets.spend(camera, seed=seed) for _ in range(times)]


def test_a_camera_has_so_many_picks_an_hour_and_each_comes_back_an_hour_later(clock: Clock) -> None:
    budgets = PickBudgets(3, clock)
    for _ in range(3):
        assert asked(budgets, "front", 1) == [None]
        clock.now += 600
    assert asked(budgets, "front", 2) == ["camera_budget"] * 2
    clock.now = 1000 + HOUR - 0.001
    assert asked(budgets, "front", 1) == ["camera_budget"]
    clock.now = 1000 + HOUR
    assert asked(budgets, "front", 2) == [None, "camera_budget"], "the first is an hour old, the second is not"


def test_cameras_do_not_use_up_each_others_budgets(clock: Clock) -> None:
    budgets = PickBudgets(2, clock)
    assert asked(budgets, "front", 3) == [None, None, "camera_budget"]
    assert asked(budgets, "rear", 3) == [None, None, "camera_budget"]
    assert asked(budgets, None, 3) == [None, None, "camera_budget"]
    assert asked(budgets, "", 2) == [None, None], "an empty id is an id"


def test_a_budget_of_none_allows_none(clock: Clock) -> None:
    assert asked(PickBudgets(0, clock), "front", 2) == ["camera_budget"] * 2


def test_the_seed_model_has_one_budget_for_all_cameras_beside_theirs(clock: Clock) -> None:
    budgets = PickBudgets(15, clock)
    assert asked(budgets, "front", 16, seed=True) == [None] * 15 + ["camera_budget"]
    left = SEED_PICKS_PER_HOUR - 15
    assert asked(budgets, "rear", left + 1, seed=True) == [None] * left + ["seed_model_budget"]
    assert asked(budgets, "rear", 1) == [None], "another model is not on the seed model's budget"
    clock.now += HOUR
    assert asked(budgets, "rear", 1, seed=True) == [None]


def test_another_budget_counts_from_now_on(clock: Clock) -> None:
    budgets = PickBudgets(5, clock)
    asked(budgets, "front", 4)
    budgets.set_per_camera(3)
    assert asked(budgets, "front", 1) == ["camera_budget"]
    budgets.set_per_camera(6)
    assert asked(budgets, "front", 3) == [None, None, "camera_budget"]


def test_whoever_invents_camera_ids_gets_one_more_budget_for_all_of_them(clock: Clock) -> None:
    budgets = PickBudgets(10, clock, max_cameras=4)
    invented = [budgets.spend(f"camera {index}", seed=False) for index in range(5000)]
    assert invented.count(None) == 4 + 10
    assert len(budgets) == 14
    assert asked(budgets, "camera 0", 10) == [None] * 9 + ["camera_budget"], "whoever was there keeps its own"
    clock.now += HOUR
    assert asked(budgets, "camera 4999", 11) == [None] * 10 + ["camera_budget"], "the silent made room"


def test_long_camera_ids_are_told_apart_by_their_beginning(clock: Clock) -> None:
    budgets = PickBudgets(1, clock)
    assert budgets.spend("x" * 300, seed=False) is None
    assert budgets.spend("x" * 256 + "y", seed=False) == "camera_budget"


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 4),
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 1200.0, HOUR - 1, HOUR]), st.sampled_from([None, "front", "rear"]), st.booleans()
        ),
        max_size=60,
    ),
)
def test_no_hour_has_more_picks_than_allowed_and_none_is_refused_without_need(
    per_camera: int, story: list[tuple[float, str | None, bool]]
) -> None:
    clock = Clock()
    budgets = PickBudgets(per_camera, clock)
    picked: list[tuple[float, str | None, bool]] = []
    for step, camera, seed in story:
        clock.now += step
        lately = [pick for pick in picked if pick[0] > clock.now - HOUR]
        of_camera = sum(pick[1] == camera for pick in lately)
        of_seed = sum(pick[2] for pick in lately)
        allowed = of_camera < per_camera and not (seed and of_seed >= SEED_PICKS_PER_HOUR)
        assert (budgets.spend(camera, seed=seed) is None) is allowed
        if allowed:
            picked.append((clock.now, camera, seed))
