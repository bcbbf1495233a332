"""The real server on a real port, and real photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import skimage.data

from tests.e2e.server_process import ServerProcess, appliance_process

pictures: Any = skimage.data  # its functions carry no types


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder of the `appliance` of this module."""
    return tmp_path_factory.mktemp("box") / "data"


@pytest.fixture(scope="module")
def appliance(data_folder: Path) -> Iterator[ServerProcess]:
    """`appliance serve` with the seed model, ready to detect; it has to end cleanly, without ever having stumbled."""
    server = appliance_process(data_folder)
    server.start()
    try:
        server.wait_until("/readyz")
        yield server
        server.stop()
    finally:
        server.kill()
    assert "Traceback" not in server.log_text(), server.log_text()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with JPEG photographs named after what a person sees in them: cat.jpg, cup.jpg, person.jpg."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, picture in (("cat", pictures.chelsea()), ("cup", pictures.coffee()), ("person", pictures.astronaut())):
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
        (folder / f"{name}.jpg").write_bytes(jpeg.tobytes())
    return folder
