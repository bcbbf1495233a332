"""The tests of learning-loop-node itself, which want a Learning Loop with test data, run against the embedded loop."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.peers import peer_venv
from tests.service.running_loop import RunningLoop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # making a peer's environment takes minutes

ERAS = ["0.13", "0.18"]

EXPECTED = {"annotator": 1, "general": 9, "trainer": 32, "detector": 28}
"""Tests that pass, at least."""

PORT = 5004
"""On which the tests have their detector listen; it cannot be told to them."""

TRIES_MORE = 2
"""Of what has failed: the tests have deadlines of a second, which a busy machine does not always keep."""

SLOW_LOOPS_ONLY = "test_api_responsive_during_large_upload"
"""Asserts that 200 pictures are not in the loop after ten seconds ("maybe the node was too fast"); here they are."""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    folder = tmp_path_factory.mktemp("loop")
    with RunningLoop(folder, test_data=True, username="tester", password="of nodes") as running:
        yield running


def wait_for_port() -> None:
    """Another run of these tests may be at work on the same machine."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", PORT)):
                return
        time.sleep(0.5)
    raise AssertionError(f"port {PORT} is taken, and learning-loop-node's tests know no other")


@pytest.mark.parametrize("folder", EXPECTED)
@pytest.mark.parametrize("era", ERAS)
def test_they_pass(loop: RunningLoop, tmp_path: Path, era: str, folder: str) -> None:
    python = peer_venv(f"learning-loop-node-{era}-tests")
    [tests] = python.parents[1].glob("lib/python3*/site-packages/learning_loop_node/tests")
    if folder == "detector":
        wait_for_port()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(tmp_path),
        "LOOP_HOST": loop.host,
        "LOOP_USERNAME": "tester",
        "LOOP_PASSWORD": "of nodes",
        "LOOP_ORGANIZATION": "zauberzeug",
        "LOOP_PROJECT": "demo",
    }
    options = ["-q", "-o", f"cache_dir={tmp_path / 'cache'}", "-k", f"not {SLOW_LOOPS_ONLY}"]
    passed = 0
    for again in ([], *[["--last-failed", "--last-failed-no-failures", "none"]] * TRIES_MORE):
        done = subprocess.run(
            [str(python), "-m", "pytest", *options, *again, "-c", f"{folder}/pytest.ini", folder],
            cwd=tests,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        found = re.search(r"(\d+) passed", done.stdout)
        passed += int(found[1]) if found else 0
        if done.returncode == 0:
            break

    said = done.stdout[-8000:] + done.stderr[-2000:]
    assert done.returncode == 0, said
    assert passed >= EXPECTED[folder], said
