"""Pages that are open when their visitor may not be there any more: their lines are cut, whatever they are made of."""

from __future__ import annotations

import ast
import asyncio
import html
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode

import aiohttp
import httpx
import pytest

from tests.e2e.server_process import ServerProcess, appliance_process

PASSWORD = "correct horse"
OTHER = "battery staple"
GUEST = {"x-forwarded-for": "203.0.113.7"}
"""Somebody at another address: the tests themselves are a proxy that is trusted."""

Line: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"

PATIENCE = 30.0
"""Seconds; far more than it takes, for other work may keep the processors busy."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A box with its pages and a password, behind a proxy."""
    environment = {"RUNTIME": "onnx/cpu/1", "TRUSTED_PROXIES": "127.0.0.1"}
    process = appliance_process(Path(tmp_path_factory.mktemp("open-pages")) / "data", environment=environment)
    process.start()
    try:
        process.wait_until("/readyz")
        yield process
        process.stop()
    finally:
        process.kill()


@pytest.fixture
def here(server: ServerProcess) -> Iterator[httpx.Client]:
    """Somebody at the box itself; it has its password, and nobody has logged in."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as client:
        client.put("/api/v1/password", json={"password": PASSWORD}).raise_for_status()
        client.delete("/api/v1/sessions").raise_for_status()
        yield client


def logged_in(here: httpx.Client) -> dict[str, str]:
    """Log in from elsewhere; the headers of that browser from now on."""
    answer = here.post("/api/v1/login", json={"password": PASSWORD}, headers=GUEST)
    answer.raise_for_status()
    here.cookies.clear()
    return {**GUEST, "cookie": "; ".join(f"{name}={value}" for name, value in answer.cookies.items())}


def query_of(here: httpx.Client, headers: dict[str, str], transport: str) -> str:
    """Open a page; what it connects with."""
    page = here.get("/settings", headers=headers)
    assert page.status_code == 200
    found = re.search(r"query: ({[^{}]*})", html.unescape(page.text))
    assert found, page.text[:3000]
    own = {"EIO": 4, "transport": transport, "tab_id": "x", "document_id": "x", "implicit_handshake": "true"}
    return urlencode({**ast.literal_eval(found[1]), **own})


def end(here: httpx.Client) -> None:
    [session] = here.get("/api/v1/sessions").json()
    here.delete(f"/api/v1/sessions/{session['id']}").raise_for_status()


def change_password(here: httpx.Client) -> None:
    here.put("/api/v1/password", json={"password": OTHER}).raise_for_status()


def clear_password(here: httpx.Client) -> None:
    here.delete("/api/v1/password").raise_for_status()


ENDS: dict[str, Callable[[httpx.Client], None]] = {
    "somebody ends the session": end,
    "the password changes": change_password,
    "the password is taken away": clear_password,
}


@pytest.mark.parametrize("how", ENDS)
def test_a_page_is_cut_off_when_its_session_is_over(here: httpx.Client, how: str) -> None:
    headers = logged_in(here)

    async def story(line: Line) -> None:
        await asyncio.to_thread(ENDS[how], here)
        assert await closed(line) == 1008

    asyncio.run(with_page(here, headers, story))
    assert here.get("/settings", headers=headers).status_code == 401
    standing = here.get("/api/v1/login", headers=headers).json()
    assert standing["kind"] == "stranger", "which is what the page asks, and then it goes to the door"


def test_a_page_is_cut_off_when_its_network_is_trusted_no_more(here: httpx.Client) -> None:
    here.put("/api/v1/settings", json={"trusted_networks": ["203.0.113.0/24"]}).raise_for_status()

    async def story(line: Line) -> None:
        await asyncio.to_thread(here.put, "/api/v1/settings", json={"trusted_networks": []})
        assert await closed(line) == 1008

    asyncio.run(with_page(here, GUEST, story))


def test_a_page_whose_session_holds_is_told_what_changes(here: httpx.Client) -> None:
    headers = logged_in(here)

    async def story(line: Line) -> None:
        await asyncio.to_thread(logged_in, here)  # another browser, which the page lists

        async def told() -> None:
            while "since" not in await heard(line):
                pass

        await asyncio.wait_for(told(), PATIENCE)

    asyncio.run(with_page(here, headers, story))


def test_a_page_that_polls_is_cut_off_as_well(here: httpx.Client) -> None:
    headers = logged_in(here)
    query = query_of(here, headers, "polling")
    path = f"/_nicegui_ws/socket.io/?{query}"
    opened = here.get(path, headers=headers)
    assert opened.status_code == 200
    sid = json.loads(opened.text.split("\x1e")[0][1:])["sid"]

    async def story() -> int:
        async with httpx.AsyncClient(base_url=here.base_url, trust_env=False, timeout=PATIENCE) as browser:
            polled = asyncio.create_task(poll_on(browser, f"{path}&sid={sid}", headers))
            await asyncio.sleep(0)
            await asyncio.to_thread(end, here)
            return await polled

    assert asyncio.run(story()) == 401


async def poll_on(browser: httpx.AsyncClient, path: str, headers: dict[str, str]) -> int:
    """Poll until that is not answered any more; the status then."""
    while True:
        answer = await browser.get(path, headers=headers)
        if answer.status_code != 200:
            return answer.status_code


async def with_page(here: httpx.Client, headers: dict[str, str], story: Callable[[Line], Awaitable[None]]) -> None:
    """Run a story with the line of an open page."""
    query = await asyncio.to_thread(query_of, here, headers, "websocket")
    url = f"{here.base_url}/_nicegui_ws/socket.io/?{query}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as line:
        assert (await heard(line)).startswith("0")
        await line.send_str("40")
        while not (await heard(line)).startswith("40"):
            pass
        await story(line)


async def heard(line: Line) -> str:
    """The next message."""
    message = await line.receive()
    assert message.type is aiohttp.WSMsgType.TEXT, message
    return str(message.data)


async def closed(line: Line) -> int | None:
    """Read on until the box closes the line; with which code."""

    async def read() -> None:
        while not line.closed:
            await line.receive()

    await asyncio.wait_for(read(), PATIENCE)
    return line.close_code
