"""aiohttp under httpx, over real sockets: what is asked once, what ends at once, and errors as httpx has them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from models.errors import LoopError, LoopUnreachable, StorageRefused
from models.loop.client import ImageUpload, LoopClient, LoopProject
from models.loop.uploads import images_body
from models.wire.detections import BoxDetection, ImageDetections
from tests.support.raw_server import Asked, RawServer, json_response, on_loopback, raw_server, response

LOGGED_IN = response("200 OK", set_cookie="session=1; Path=/")
SOON_S = 10.0


@asynccontextmanager
async def client_of(server: RawServer) -> AsyncIterator[LoopClient]:
    client = LoopClient(server.host)
    try:
        yield client
    finally:
        await asyncio.wait_for(client.close(), SOON_S)


@asynccontextmanager
async def project_of(server: RawServer) -> AsyncIterator[LoopProject]:
    async with client_of(server) as client:
        yield client.project("o", "p")


async def nothing(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


@on_loopback
async def test_ids_arrive_as_they_were_written() -> None:
    async def none(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(LOGGED_IN if asked.path == "/api/login" else json_response({"images": []}))

    async with raw_server(none) as server, project_of(server) as project:
        await project.images(["a,b", "~ü", "c/../d?e#f%2C"])
    assert server.asked[-1].path == "/api/o/projects/p/images?ids=a%2Cb,~%C3%BC,c%2F..%2Fd%3Fe%23f%252C"
    assert server.asked[-1].headers["user-agent"] == "detector-appliance"
    assert server.asked[-1].headers["accept-encoding"] == "identity"
    assert server.asked[-1].headers["cookie"] == "session=1"


@on_loopback
async def test_a_model_is_not_sent_again_by_itself_when_its_connection_had_been_closed(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(bytes(100_000))

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path == "/api/login":
            writer.write(LOGGED_IN)
        else:
            writer.close()

    async with raw_server(once) as server, project_of(server) as project:
        with pytest.raises(LoopUnreachable, match="broke off"):
            await project.upload_model(1, "litert", [tmp_path / "model.json"])
    assert [asked.method for asked in server.asked] == ["POST", "PUT"]


@on_loopback
async def test_a_file_that_changes_while_it_is_sent_is_told_and_its_connection_ends(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(bytes(100_000_000))

    async def shorten(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path == "/api/login":
            writer.write(LOGGED_IN)
            return
        weights.write_bytes(b"")
        while await asked.reader.read(65536):
            pass

    async with raw_server(shorten, read_body=False) as server, project_of(server) as project:
        with pytest.raises(StorageRefused, match="changed while it was sent"):
            await project.upload_model(1, "litert", [weights])


@on_loopback
async def test_a_long_body_is_sent_without_complaint() -> None:
    async def take(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(LOGGED_IN if asked.path == "/api/login" else json_response("OK"))

    box = BoxDetection(category_name="dirt" * 500, model_name="1.1", confidence=0.5, x=1, y=2, width=3, height=4)
    async with raw_server(take) as server, project_of(server) as project:
        await project.post_detections([ImageDetections(image_id="1", box_detections=[box] * 2000)])
    assert len(server.asked[-1].body) == int(server.asked[-1].headers["content-length"]) > 4_000_000


@contextmanager
def deaf_server() -> Iterator[socket.socket]:
    """Takes connections and reads nothing, ever."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.setblocking(False)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    with listening:
        yield listening


def host_of(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


PICTURES = [ImageUpload("1", bytes(20_000_000), b"{}")]


@on_loopback
async def test_a_loop_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.session.ANSWER_WITHIN_S", 0.3)
    with deaf_server() as server:
        client = LoopClient(host_of(server))
        with pytest.raises(LoopUnreachable, match="did not go on"):
            await client.project("o", "p").upload_images(PICTURES)
        await client.close()


@on_loopback
async def test_what_is_refused_is_not_sent_to_its_end() -> None:
    loop = asyncio.get_running_loop()
    with deaf_server() as server:
        client = LoopClient(host_of(server))
        body = images_body(PICTURES)
        call = client.session.answer("POST", "/", login=False, content=body, headers=body.headers)
        opening = asyncio.create_task(call.__aenter__())
        connection, _ = await loop.sock_accept(server)
        with connection:
            await asyncio.sleep(0.1)  # until nothing more fits into it
            await loop.sock_sendall(connection, response("413 Content Too Large"))
            answer = await opening
            deadline = loop.time() + SOON_S
            while loop.time() < deadline and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                await asyncio.sleep(0.01)
            assert loop.time() < deadline, "it still waits to send the rest"
            assert answer.status_code == 413
        await call.__aexit__(None, None, None)
        await client.close()


@on_loopback
async def test_closing_ends_what_is_under_way_at_once_in_every_stage(tmp_path: Path) -> None:
    async def half(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.endswith("/file"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + bytes(10))
            await writer.drain()
        await asyncio.sleep(3600)

    with deaf_server() as deaf:
        async with raw_server(half) as server:
            client, other = LoopClient(server.host), LoopClient(host_of(deaf))
            receiving = client.project("o", "p").download_model("1", "litert", tmp_path / "model", max_bytes=1000)
            calls = [
                asyncio.create_task(receiving),
                asyncio.create_task(client.is_ready()),
                asyncio.create_task(other.project("o", "p").upload_images(PICTURES)),
            ]
            while len(server.asked) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # some of each is on its way
            await asyncio.wait_for(asyncio.gather(client.close(), other.close()), SOON_S)
            _, late = await asyncio.wait(calls, timeout=SOON_S)
            assert not late
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(outcomes[0], LoopUnreachable)
            assert outcomes[1] is False
            assert isinstance(outcomes[2], LoopUnreachable)
            assert (tmp_path / "model").stat().st_size == 10


@on_loopback
async def test_more_requests_than_connections_take_turns_and_errors_give_theirs_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.loop.session.MOST_CONNECTIONS", 2)
    most = 0

    async def now_and_then(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        most = max(most, server.open_connections)
        if len(server.asked) % 3 == 0:
            writer.write(b"nonsense\r\n\r\n")
            writer.close()
        else:
            await asyncio.sleep(0.01)
            writer.write(json_response({}))

    async with raw_server(now_and_then) as server, client_of(server) as client:
        outcomes = await asyncio.wait_for(asyncio.gather(*(client.is_ready() for _ in range(20))), 6 * SOON_S)
        assert True in outcomes
        assert len(server.asked) >= 20
        assert most <= 2 + sum(not ready for ready in outcomes), "closed ones may not have been noticed yet"


@on_loopback
async def test_who_waits_for_a_turn_when_all_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.session.MOST_CONNECTIONS", 1)
    async with raw_server(nothing) as server:
        client = LoopClient(server.host)
        calls = [asyncio.create_task(client.session.ask("GET", "/", "it", login=False)) for _ in range(3)]
        while not server.asked:
            await asyncio.sleep(0.01)
        await client.close()
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SOON_S)
        assert [type(outcome) for outcome in outcomes] == [LoopUnreachable] * 3, outcomes


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"zz\r\n", id="no chunk"),
        pytest.param(b"f" * 100, id="a size that never ends"),
        pytest.param(b"0\r\n" + b"a: b\r\n" * 100_000, id="trailers that never end"),
    ],
)
def test_nonsense_in_the_middle_of_an_answer_is_told(rest: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.session.ANSWER_WITHIN_S", 1.0)

    @on_loopback
    async def story() -> None:
        async def reply(_asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.write(rest)
            await writer.drain()
            await asyncio.sleep(3600)

        async with raw_server(reply) as server, client_of(server) as client:
            with pytest.raises(LoopUnreachable, match=r"broke off|did not go on"):
                await client.session.ask("GET", "/", "it", login=False, within=SOON_S)

    story()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000, id="many"),
        pytest.param(b"HTTP/1.1 200 OK\r\na: " + b"b" * 1_000_000, id="long"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a" * 1_000_000, id="long name"),
        pytest.param(b"HTTP/1.1 200 " + b"a" * 1_000_000, id="long reason"),
    ],
)
def test_headers_are_bounded(head: bytes) -> None:
    @on_loopback
    async def story() -> None:
        async def reply(_asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(head)
            await writer.drain()
            await asyncio.sleep(3600)

        async with raw_server(reply) as server, client_of(server) as client:
            with pytest.raises(LoopUnreachable, match="broke off") as failure:
                await client.session.ask("GET", "/", "it", login=False, within=SOON_S)
            assert len(str(failure.value)) < 500

    story()


@on_loopback
async def test_an_answer_that_stops_is_given_up_before_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.session.ANSWER_WITHIN_S", 0.3)

    async def stop(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{")
        await nothing(_asked, writer)

    for reply in (stop, nothing):
        async with raw_server(reply) as server, client_of(server) as client:
            with pytest.raises(LoopUnreachable, match="did not go on"):
                await client.session.ask("GET", "/", "it", login=False, within=SOON_S)


@on_loopback
async def test_what_a_header_cannot_say_is_told() -> None:
    async with raw_server(nothing) as server, client_of(server) as client:
        with pytest.raises(LoopError, match="could not be asked"):
            await client.session.ask("GET", "/", "it", login=False, headers={"if-range": "a\r\nhost: b"})
    assert not server.asked
