"""These tests need PyTorch. Where it is missing nothing of them is collected; the test command says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from models.bundle import Bundle, open_bundle

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A trained network that sees coloured squares, as appliance_pytorch. Nothing may be changed in it."""
    from networks import bundles
    from tests.support.shapes_network import CATEGORIES, trained

    folder = tmp_path_factory.mktemp("shapes") / "bundle"
    more = {"version": "1.0", "id": "00000000-0000-0000-0000-000000000001", "format": "appliance_pytorch"}
    bundles.write(folder, trained(), "edge", CATEGORIES, conf_threshold=0.4, more=more)
    return open_bundle(folder)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder with pictures of coloured squares."""
    from tests.support.shapes_network import write_pictures

    return write_pictures(tmp_path_factory.mktemp("scenes") / "coco", 24)
