"""The sample of an own converter, installed, and a loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.loop_server.shop import Shop
from tests.service.running_loop import RunningLoop
from tests.support.sample_packages import installed_into, make_importable

SAMPLE = Path(__file__).parents[2] / "samples" / "own_converter"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the sample."""
    return installed_into(tmp_path_factory.mktemp("site"), SAMPLE)


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is installed for the time of one test."""
    make_importable(site, "text_converter", monkeypatch)


@pytest.fixture
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    """Of each test its own: a node looks at all projects that there are."""
    with RunningLoop(tmp_path_factory.mktemp("loop")) as running:
        yield running


@pytest.fixture
def shop(loop: RunningLoop) -> Shop:
    return Shop(loop)
