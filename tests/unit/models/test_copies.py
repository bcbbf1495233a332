"""Who may use which copy of a model."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Thread
from typing import Any, cast

import pytest

from models.copies import Copies
from models.runtimes.base import Concurrency, LoadedModel


class Copy:
    """A loaded model as far as it is lent."""

    def __init__(self, name: str, concurrency: Concurrency = "copies") -> None:
        self.name = name
        self.concurrency = concurrency


def copies(*models: Copy, **keys: Any) -> Copies:
    """Copies of a model."""
    return Copies(cast("list[LoadedModel]", list(models)), **keys)


def borrow(stack: ExitStack, made: Copies) -> str:
    """Borrow until the stack closes; the name of the copy."""
    return cast(Copy, stack.enter_context(made.borrowed())).name


def test_a_robot_that_asks_again_gets_the_same_copy() -> None:
    made = copies(Copy("one"), Copy("two"))
    used = set()
    for _ in range(3):
        with ExitStack() as stack:
            used.add(borrow(stack, made))
    assert len(used) == 1


def test_pictures_side_by_side_get_copies_of_their_own() -> None:
    made = copies(Copy("one"), Copy("two"))
    with ExitStack() as stack:
        assert {borrow(stack, made), borrow(stack, made)} == {"one", "two"}


def test_a_picture_that_comes_alone_has_all_threads_and_those_side_by_side_have_one_each() -> None:
    made = copies(Copy("all threads"), Copy("one"), Copy("two"), one_for_itself=True)
    with ExitStack() as first:
        assert borrow(first, made) == "all threads"
        with ExitStack() as second:
            beside = borrow(second, made)
            assert beside != "all threads"
            first.close()
            with ExitStack() as third:
                assert {beside, borrow(third, made)} == {"one", "two"}, "never several threads beside somebody else"
    with ExitStack() as alone_again:
        assert borrow(alone_again, made) == "all threads"


def test_one_who_finds_no_copy_waits_for_it() -> None:
    made = copies(Copy("only", "exclusive"))
    got: list[str] = []

    def wait_for_it() -> None:
        with ExitStack() as stack:
            got.append(borrow(stack, made))

    with ExitStack() as stack:
        borrow(stack, made)
        waiting = Thread(target=wait_for_it)
        waiting.start()
        assert got == []
    waiting.join(10)
    assert got == ["only"]


def test_a_shared_model_is_lent_to_everybody() -> None:
    made = copies(Copy("session", "shared"))
    with ExitStack() as stack:
        assert [borrow(stack, made) for _ in range(3)] == ["session"] * 3


def test_what_fails_gives_its_copy_back() -> None:
    made = copies(Copy("all threads"), Copy("one"), one_for_itself=True)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"), made.borrowed():
            raise ValueError("no")
    with ExitStack() as stack:
        assert borrow(stack, made) == "all threads"
        assert borrow(stack, made) == "one"
