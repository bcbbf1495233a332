"""A box with the seed model for the stories of a module that leave it as it was, and more boxes for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.service.box import Box, settings_for
from tests.service.bundles import model_zip

MakeBox = Callable[..., Box]


def pytest_configure(config: pytest.Config) -> None:
    """Two things that python-socketio's client does with aiohttp while it polls are none of the box's."""
    config.addinivalue_line("filterwarnings", "ignore:Sending a large body:ResourceWarning")
    config.addinivalue_line("filterwarnings", "ignore:Unclosed connection:ResourceWarning")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box as it comes out of the carton, standalone, with the seed model. Whoever changes a mode sets it back."""
    with Box(settings_for(tmp_path_factory.mktemp("box"))) as made:
        yield made


@pytest.fixture(scope="module")
def make_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBox]:
    """Make a box with settings of its own, which ends with the module."""
    with ExitStack() as stack:

        def make(**overrides: Any) -> Box:
            return stack.enter_context(Box(settings_for(tmp_path_factory.mktemp("own-box"), **overrides)))

        yield make


@pytest.fixture(scope="session")
def good_zip() -> bytes:
    """Version 1.0 of acme/kitchens: detects what the seed model detects."""
    return model_zip("1.0")
