"""`appliance demo`: one command, and the circle goes round; it ends without leaving anything running."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.circle import wait_for
from tests.e2e.server_process import ServerProcess, free_port
from tests.service.photographs import CUP, assert_sees

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    """The demo as a process, not started yet, and the port of its Loop."""
    port, loop_port = free_port(), free_port()
    command = [sys.executable, "-m", "appliance", "demo", "--port", str(port), "--loop-port", str(loop_port)]
    process = ServerProcess(
        [*command, "--data-dir", str(tmp_path / "data")],
        port=port,
        log=tmp_path / "demo.log",
        environment={"LOOP_HOST": "loop.invalid", "RUNTIME": "onnx/cpu/1"},
    )
    yield process, loop_port
    process.kill()


def test_the_demo_goes_round_and_goes_on_where_it_was_after_a_restart(demo: tuple[ServerProcess, int]) -> None:
    process, loop_port = demo
    box = f"http://127.0.0.1:{process.port}"
    data = f"http://127.0.0.1:{loop_port}/api/demo/projects/everyday-objects/data"

    def serves_the_loops_model() -> bool:
        return bool(httpx.get(f"{box}/model_version", trust_env=False).json()["current_version"] == "1.0")

    def images_in_the_loop() -> int:
        return len(httpx.get(data, trust_env=False).json()["image_ids"])

    def arrived(count: int) -> bool:
        return images_in_the_loop() == count

    for images in (2, 4):
        process.start()
        process.wait_until("/readyz")
        assert images_in_the_loop() == images - 2
        wait_for("the Loop's model", serves_the_loops_model)
        kept = {"autoupload": "all"}
        answer = httpx.post(f"{box}/detect", files={"file": CUP.jpeg}, headers=kept, timeout=60.0, trust_env=False)
        assert_sees(answer.json(), CUP)
        httpx.post(f"{box}/upload", files={"files": CUP.jpeg}, timeout=60.0, trust_env=False).raise_for_status()
        wait_for("the pictures", partial(arrived, images))
        process.stop()
