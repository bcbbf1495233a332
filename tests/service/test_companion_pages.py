"""The pages of the companions as their programs serve them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.e2e.server_process import ServerProcess, free_port

PROGRAMS = {"trainer": "Idle", "converter": "Idle", "annotator": "Nobody can draw with it now."}
"""Companion -> how its sentence begins while no Loop is set."""

STRANGER = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module", params=list(PROGRAMS))
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, ServerProcess]]:
    """A companion as it is run, without a Loop."""
    name: str = request.param
    folder: Path = tmp_path_factory.mktemp(name)
    port = free_port()
    command = [sys.executable, "-m", f"{name}_companion", "serve", "--port", str(port), "--data-dir", str(folder)]
    process = ServerProcess(command, port=port, log=folder / "log.txt")
    process.start()
    try:
        process.wait_until("/healthz")
        yield name, process
        process.stop()
    finally:
        process.kill()


@pytest.fixture
def visitor(program: tuple[str, ServerProcess]) -> Iterator[httpx.Client]:
    """A browser on this machine."""
    with httpx.Client(base_url=f"http://127.0.0.1:{program[1].port}", trust_env=False, timeout=30) as client:
        yield client


def test_the_page_is_there_and_needs_nothing_from_elsewhere(
    program: tuple[str, ServerProcess], visitor: httpx.Client
) -> None:
    name, _ = program
    page = visitor.get("/")
    assert page.status_code == 200
    assert PROGRAMS[name] in page.text
    assert "LOOP_HOST" in page.text
    references = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", page.text)
    assert references
    for reference in references:
        if not reference.startswith("data:"):
            assert reference.startswith(("/", "#")), reference
            assert not reference.startswith("//"), reference
    assert visitor.get("/healthz").json()["status"] == "ok", "the page takes no place of the routes"


def test_a_stranger_gets_neither_the_page_nor_what_it_is_made_of(
    program: tuple[str, ServerProcess], visitor: httpx.Client
) -> None:
    _, process = program
    assert visitor.get("/healthz", headers=STRANGER).status_code == 200
    paths = ["/", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", "/pictures/samples/run/0"]
    for path in paths:
        assert visitor.get(path, headers=STRANGER).status_code in (401, 403), path
        assert visitor.get(path, headers={"Host": "evil.example"}).status_code == 403, path
    assert visitor.get("/pictures/samples/run/0").status_code == 404, "there is no training"

    async def story() -> None:
        url = f"ws://127.0.0.1:{process.port}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
        async with aiohttp.ClientSession() as browser:
            for headers in (STRANGER, {"Origin": "http://evil.example"}):
                with pytest.raises(aiohttp.WSServerHandshakeError, match=r"40[13]"):
                    await browser.ws_connect(url, headers=headers)

    asyncio.run(story())
