"""Stories of somebody who has a page open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from nicegui import ui
from nicegui.testing import User, user_simulation

from tests.ui.fake_box import FakeBox
from ui.kit.words import Button

E = TypeVar("E", bound=ui.element)
F = TypeVar("F")

Story = Callable[[User, FakeBox], Coroutine[Any, Any, None]]
PatientlyTrue = Callable[[], bool]


def visit(
    build: Callable[[FakeBox], Awaitable[None]], prepare: Callable[[FakeBox], None] = lambda box: None
) -> Callable[[Story], Callable[[], None]]:
    """Run a story of somebody who has opened this page of a box that was prepared."""

    def prepared() -> FakeBox:
        box = FakeBox()
        prepare(box)
        return box

    return visit_of(prepared, build)


def visit_of(
    make: Callable[[], F], build: Callable[[F], Awaitable[None]]
) -> Callable[[Callable[[User, F], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Run a story of somebody who has opened a page of whatever `make` makes."""

    def decorate(story: Callable[[User, F], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def visited() -> None:
            behind = make()

            async def root() -> None:
                await build(behind)

            async with user_simulation(root) as user:
                await user.open("/")
                await asyncio.sleep(0.05)  # until the feeds have told how everything is in the beginning
                await story(user, behind)

        @wraps(story)
        def run() -> None:
            asyncio.run(visited())

        del run.__wrapped__  # else pytest would look for fixtures named like the arguments
        return run

    return decorate


async def until(holds: PatientlyTrue, seconds: float = 10.0) -> None:
    """Return as soon as it holds; fails if it does not in time."""
    for _ in range(round(seconds / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that in time")


def only(user: User, kind: type[E]) -> E:
    """The one element of a kind."""
    [element] = user.find(kind).elements
    return element


def all_of(user: User, kind: type[E]) -> list[E]:
    """All visible elements of a kind, in the order of the page; none is fine."""
    try:
        found = user.find(kind).elements
    except AssertionError:
        return []
    return sorted(found, key=lambda element: element.id)


def button(user: User, text: str, number: int = 0) -> Button:
    """The button with this text, or one of several."""
    return [each for each in all_of(user, Button) if each.text == text][number]


async def press(user: User, text: str, number: int = 0) -> None:
    """Press a button, and wait until what it does is under way."""
    assert user.client is not None
    with user.client:
        await button(user, text, number)._press()


def press_later(user: User, text: str, number: int = 0) -> asyncio.Task[None]:
    """Press a button that asks a question first."""
    return asyncio.create_task(press(user, text, number))


async def tell(user: User, element: ui.element, event: str, args: Any) -> None:
    """What a browser would say of an element."""
    interaction = user.find(type(element))
    interaction.elements = {element}
    interaction.trigger(event, args)
    await asyncio.sleep(0.02)
