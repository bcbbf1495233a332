"""Request bodies: counted as they come, given up when they stall, refused when they are too much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, MutableMapping
from functools import wraps
from typing import Any

import pytest
from starlette.requests import Request

from appliance.api.bodies import MAX_TEXT, MIB, Budget, WholeBodies, chunks, declared_size, files_of, read_text
from models.errors import InputTooLarge, InvalidInput, Overloaded


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run it in an event loop."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


def scope(headers: dict[str, str] | None = None, path: str = "/detect", method: str = "POST") -> dict[str, Any]:
    """An HTTP request as ASGI has it."""
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}


class Sender:
    """Hands out a body piece by piece; then leaves, or falls silent."""

    def __init__(self, pieces: Iterable[bytes], *, then: str = "end") -> None:
        self.pieces = list(pieces)
        self.handed_out = 0
        self.then = then

    async def __call__(self) -> MutableMapping[str, Any]:
        if self.handed_out < len(self.pieces):
            self.handed_out += 1
            last = self.handed_out == len(self.pieces) and self.then == "end"
            return {"type": "http.request", "body": self.pieces[self.handed_out - 1], "more_body": not last}
        if self.then == "leave":
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError("never")


def request(sender: Sender, headers: dict[str, str] | None = None) -> Request:
    """A request with that body."""
    return Request(scope(headers), sender)


async def collected(iterator: AsyncIterator[bytes]) -> bytes:
    """All that comes."""
    return b"".join([piece async for piece in iterator])


def test_a_budget_is_for_all_together_but_one_always_fits() -> None:
    budget = Budget(100)

    with budget.reserve(150):
        with pytest.raises(Overloaded, match="under way already"), budget.reserve(1):
            pass
        assert budget.taken == 150
    assert budget.taken == 0
    with budget.reserve(60) as one, budget.reserve(30) as other:
        one.grow(10)
        with pytest.raises(Overloaded):
            other.grow(10)
        assert budget.taken == 100
    assert budget.taken == 0


def test_asking_whether_there_is_room_takes_none() -> None:
    budget = Budget(100)
    budget.check(1000)
    with budget.reserve(10):
        budget.check(90)
        with pytest.raises(Overloaded):
            budget.check(91)
        assert budget.taken == 10


@pytest.mark.parametrize("length", ["", "abc", "-5", "+5", "1e3", "5 5", "²"])
def test_a_length_that_is_none_is_not_known(length: str) -> None:
    raw = [(b"content-length", length.encode("latin-1"))]
    assert declared_size(Request({**scope(), "headers": raw}), 10) == 0


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    assert declared_size(request(Sender([]), {"content-length": "10"}), 10) == 10
    for length in ("11", "9" * 30, "9" * 5000):
        with pytest.raises(InputTooLarge):
            declared_size(request(Sender([]), {"content-length": length}), 10)


@story
async def test_a_body_is_reserved_as_it_comes_and_not_before() -> None:
    budget = Budget(1000)
    with budget.reserve() as taken:
        seen = [(piece, budget.taken) async for piece in chunks(request(Sender([b"abc", b"de"])), 10, taken)]

    assert [entry for entry in seen if entry[0]] == [(b"abc", 3), (b"de", 5)]
    assert budget.taken == 0


@story
async def test_a_body_that_gets_too_long_is_not_read_to_its_end() -> None:
    sender = Sender([b"12345"] * 100)

    with pytest.raises(InputTooLarge):
        await collected(chunks(request(sender), 10))

    assert sender.handed_out == 3


@story
async def test_a_body_that_stops_coming_is_given_up_and_its_task_lives_on() -> None:
    with pytest.raises(InvalidInput, match=r"nothing of it came for 0\.01 s"):
        await collected(chunks(request(Sender([b"abc"], then="silence")), 10, patience=0.01))

    await asyncio.sleep(0)  # a cancellation that was left over would come now
    cancelling = getattr(asyncio.current_task(), "cancelling", lambda: 0)  # since Python 3.11
    assert cancelling() == 0


@story
async def test_what_is_done_with_a_piece_may_take_longer_than_the_patience() -> None:
    pieces = []
    async for piece in chunks(request(Sender([b"abc", b"de"])), 10, patience=0.01):
        pieces.append(piece)
        await asyncio.sleep(0.03)

    assert b"".join(pieces) == b"abcde"


@story
async def test_a_task_that_is_cancelled_by_others_is_cancelled() -> None:
    reading = asyncio.create_task(collected(chunks(request(Sender([b"abc"], then="silence")), 10)))
    await asyncio.sleep(0.01)

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading


@story
async def test_who_leaves_in_the_middle_is_no_fault_of_the_box() -> None:
    with pytest.raises(InvalidInput, match="ended in the middle"):
        await collected(chunks(request(Sender([b"abc"], then="leave")), 10))


@story
async def test_a_word_is_read_whatever_it_claims_to_be() -> None:
    assert await read_text(request(Sender([b" pau", b"se\n"]), {"content-type": "application/json"})) == "pause"
    with pytest.raises(InvalidInput, match="UTF-8"):
        await read_text(request(Sender([b"\xff"])))
    with pytest.raises(InputTooLarge):
        await read_text(request(Sender([b"x" * (MAX_TEXT + 1)])))


FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\npicture\r\n--b--\r\n'
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


@story
async def test_files_count_against_the_budget_for_as_long_as_they_are_used() -> None:
    budget = Budget(MIB)

    async with files_of(request(Sender([FORM]), MULTIPART), "file", MIB, budget) as files:
        assert files == [b"picture"]
        assert budget.taken == len(FORM)

    assert budget.taken == 0
    for sender in (Sender([FORM[:50]], then="leave"), Sender([b"--c"])):
        with pytest.raises(InvalidInput):
            async with files_of(request(sender, MULTIPART), "file", MIB, budget):
                pass
        assert budget.taken == 0


class Wrapped:
    """The application behind `WholeBodies`: what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], bytes]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        body = b""
        if scope["type"] == "http":
            message = await receive()
            assert message["more_body"] is False
            body = message["body"]
        self.asked.append((dict(scope), body))


async def ask(app: WholeBodies, asked: dict[str, Any], sender: Sender) -> list[MutableMapping[str, Any]]:
    """What is answered by `app` itself."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(asked, sender, send)
    return sent


@story
async def test_a_body_in_pieces_is_handed_on_as_one_with_its_length() -> None:
    behind, budget = Wrapped(), Budget(MIB)
    app = WholeBodies(behind, "/ws/", 100, budget)

    await ask(app, scope({"transfer-encoding": "chunked"}, "/ws/socket.io/"), Sender([b"abc", b"", b"de"]))

    [(asked, body)] = behind.asked
    assert body == b"abcde"
    assert (b"content-length", b"5") in asked["headers"]
    assert budget.taken == 0


@story
async def test_a_body_that_is_too_long_never_gets_there() -> None:
    behind = Wrapped()
    app = WholeBodies(behind, "/ws/", 100, Budget(MIB))

    for headers, pieces in (({"content-length": "101"}, []), ({}, [b"x" * 60] * 2)):
        sent = await ask(app, scope(headers, "/ws/socket.io/"), Sender(pieces))
        assert sent[0]["status"] == 413

    assert behind.asked == []


@story
async def test_other_requests_are_none_of_its_business() -> None:
    behind = Wrapped()
    app = WholeBodies(behind, "/ws/", 3, Budget(MIB))

    await ask(app, scope(path="/detect"), Sender([b"longer than three"]))
    await ask(app, scope(path="/ws/socket.io/", method="GET"), Sender([b""]))
    await ask(app, {"type": "websocket", "path": "/ws/socket.io/", "headers": []}, Sender([]))

    assert len(behind.asked) == 3
