"""One connection to one Loop, over real sockets: TLS, proxies, idle connections, answers that drip or never end."""

from __future__ import annotations

import asyncio
import errno
import ssl
from pathlib import Path

import httpx
import pytest

from models.errors import LoopUnreachable
from models.loop.client import ImageUpload, LoopClient
from models.loop.session import ours
from tests.support.raw_server import Asked, RawServer, json_response, on_loopback, raw_server, response

TARGET = {"model_uuid": "1", "version": "1.1"}


async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """As a Loop with a deployment target."""
    if asked.path.endswith("/api/login"):
        writer.write(response("200 OK", set_cookie="session=1; Path=/"))
    else:
        writer.write(json_response(TARGET))


async def version(client: LoopClient) -> str:
    """The version of the deployment target."""
    try:
        target = await client.project("o", "p").deployment_target()
        assert target is not None
        return target.version
    finally:
        await client.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@on_loopback
async def test_calls_share_one_connection_and_a_loop_that_closed_it_is_asked_again() -> None:
    used: list[asyncio.StreamReader] = []

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.reader in used:
            writer.close()  # it was idle for too long just when it was used again
        else:
            used.append(asked.reader)
            await answer(asked, writer)

    async with raw_server(answer) as server:
        client = LoopClient(server.host)
        for _ in range(3):
            await client.project("o", "p").deployment_target()
        assert server.connections == 1
        await client.close()

    async with raw_server(once) as server:
        client = LoopClient(server.host)
        for _ in range(5):
            assert await client.project("o", "p").deployment_target() is not None
        await client.close()
        assert server.connections > 1


@on_loopback
async def test_an_answer_that_drips_is_given_up_as_a_whole() -> None:
    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(drip) as server:
        client = LoopClient(server.host)
        with pytest.raises(LoopUnreachable, match=r"did not answer within 0 s"):
            await client.session.ask("GET", "/api/status", "its status", login=False, within=0.3)
        await client.close()


@on_loopback
async def test_a_receipt_that_drips_or_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.project.ANSWER_WITHIN_S", 0.3)

    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nx-long: " + b"y" * 10_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(drip) as server:
        client = LoopClient(server.host)
        with pytest.raises(LoopUnreachable, match="did not answer within"):
            await client.project("o", "p").upload_images([ImageUpload("1", bytes(1_000_000), b"{}")])
        await client.close()


@on_loopback
async def test_a_slow_line_is_no_reason_to_give_up_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.project.ANSWER_WITHIN_S", 0.3)

    async def throttle(size: int) -> None:
        await asyncio.sleep(0.05)

    async with raw_server(answer) as server:
        client = LoopClient(server.host)
        picture = ImageUpload("1", bytes(1_000_000), b"{}")
        await client.project("o", "p").upload_images([picture], throttle=throttle)
        await client.close()


@on_loopback
async def test_closing_ends_what_is_under_way() -> None:
    async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with raw_server(never) as server:
        client = LoopClient(server.host)
        calls = [asyncio.create_task(client.project("o", "p").models()) for _ in range(3)]
        while not server.asked:
            await asyncio.sleep(0.01)
        await client.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, LoopUnreachable) for outcome in outcomes), outcomes


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}", "broke off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}", "broke off"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000, "broke off"),
        (b"", "broke off"),
    ],
)
def test_what_speaks_another_language_becomes_a_sentence(answer: bytes, words: str) -> None:
    @on_loopback
    async def story() -> None:
        async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()
            writer.close()

        async with raw_server(reply) as server:
            client = LoopClient(server.host)
            with pytest.raises(LoopUnreachable, match=words) as failure:
                await client.session.ask("GET", "/api/status", "its status", login=False)
            await client.close()
            assert server.host in str(failure.value)
            assert len(str(failure.value)) < 500

    story()


@on_loopback
async def test_nobody_there_is_told_as_the_system_says_it() -> None:
    async with raw_server(answer) as server:
        pass
    with pytest.raises(LoopUnreachable, match=r"^no connection to .* at http://127.0.0.1:\d+ \(Connection refused\)$"):
        await version(LoopClient(server.host))
    with pytest.raises(LoopUnreachable, match="no connection to"):
        await version(LoopClient("no-such-host.invalid"))


def test_nobody_there_under_several_addresses_is_told_once() -> None:
    each = "[Errno 111] Connect call failed ('::1', 80, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 80)"
    error = httpx.ConnectError("all failed")
    error.__cause__ = OSError(errno.ECONNREFUSED, f"Multiple exceptions: {each}")
    assert str(ours(error, "http://localhost")).endswith("at http://localhost (Connection refused)")


CERTIFICATE = Path(__file__).parents[3] / "support" / "loopback.pem"
"""Of 127.0.0.1, signed by itself, good for a hundred years; with its key, which is no secret."""


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def test_a_loop_is_known_by_the_certificate_that_is_named() -> None:
    @on_loopback
    async def story() -> None:
        async with raw_server(answer, tls=tls()) as server:
            named = LoopClient(f"https://{server.host}", ssl_cert_path=CERTIFICATE)
            assert await version(named) == "1.1"
            with pytest.raises(LoopUnreachable, match=r"does not prove who it is .*LOOP_SSL_CERT_PATH"):
                await version(LoopClient(f"https://{server.host}"))
            with pytest.raises(LoopUnreachable):
                await version(LoopClient(f"http://{server.host}"))

    story()


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
def test_a_certificate_that_cannot_be_read_is_named_and_read_again(tmp_path: Path, content: bytes | None) -> None:
    @on_loopback
    async def story() -> None:
        path = tmp_path / "loop.pem"
        if content is not None:
            path.write_bytes(content)
        async with raw_server(answer, tls=tls()) as server:
            client = LoopClient(f"https://{server.host}", ssl_cert_path=path)
            with pytest.raises(LoopUnreachable, match=r"LOOP_SSL_CERT_PATH names .*loop.pem.*in PEM form, or unset"):
                await client.project("o", "p").deployment_target()
            path.write_bytes(CERTIFICATE.read_bytes())
            assert await version(client) == "1.1"

    story()


def proxied(server: RawServer) -> list[str]:
    return [asked.path for asked in server.asked]


@on_loopback
async def test_a_loop_out_in_the_world_is_asked_through_the_proxy_and_one_nearby_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with raw_server(answer) as proxy, raw_server(answer) as nearby:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy.host}")
        assert await version(LoopClient(nearby.host)) == "1.1"
        assert proxied(proxy) == []
        assert await version(LoopClient("http://loop.example.com:81")) == "1.1"
        assert proxied(proxy) == [
            "http://loop.example.com:81/api/login",
            "http://loop.example.com:81/api/o/projects/p/deployment/target",
        ]
        monkeypatch.setenv("NO_PROXY", "loop.example.com")
        with pytest.raises(LoopUnreachable, match="no connection"):
            await version(LoopClient("http://loop.example.com:81"))


@pytest.mark.parametrize("proxy", ["gopher://proxy:70", "socks5://proxy:1080", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    @on_loopback
    async def story() -> None:
        with pytest.raises(LoopUnreachable, match="proxy"):
            await version(LoopClient("http://loop.example.com"))

    story()
