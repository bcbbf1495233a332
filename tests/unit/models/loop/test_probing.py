"""What a Loop says of a model's file without sending it."""

from __future__ import annotations

import httpx
import pytest

from models.errors import LoopBusy, LoopError, LoopUnreachable, NotInLoop
from models.loop.client import LoopClient
from models.loop.probing import ModelProbe
from tests.support.virtual_time import run_in_virtual_time

PATH = "/api/zauberzeug/projects/demo/models/m1/litert/file"


class Loop:
    """Answers each method as it is told, and writes down what was asked."""

    def __init__(self, **answers: httpx.Response) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == PATH
        self.asked.append(f"{request.method} {request.headers.get('range', '')}".strip())
        return self.answers.get(request.method, httpx.Response(405, json={"detail": "Method Not Allowed"}))

    def probe(self, times: int = 1) -> ModelProbe | None:
        """Ask so many times with one client; the last answer."""

        async def story() -> ModelProbe | None:
            client = LoopClient("loop.example", transport=httpx.MockTransport(self))
            project = client.project("zauberzeug", "demo")
            found = [await project.probe_model("m1", "litert") for _ in range(times)]
            await client.close()
            return found[-1]

        return run_in_virtual_time(story())


def headers(status: int = 200, **named: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in named.items()})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (headers(etag='"abc"', content_length="1234"), ModelProbe('"abc"', 1234)),
        (headers(last_modified="Mon, 01 Jan 2024 00:00:00 GMT"), ModelProbe("Mon, 01 Jan 2024 00:00:00 GMT", None)),
        (headers(etag='W/"abc"', last_modified="then", content_length="5"), ModelProbe('W/"abc"', 5)),
        (headers(content_length="1234"), ModelProbe(None, 1234)),
        (headers(content_length="many"), None),
        (headers(), None),
    ],
)
def test_the_headers_tell_one_file_from_another(answer: httpx.Response, expected: ModelProbe | None) -> None:
    loop = Loop(HEAD=answer)
    assert loop.probe() == expected
    assert loop.asked == ["HEAD"], "no byte of the model was asked for, and nobody logged in"


def test_a_loop_that_knows_no_head_is_asked_for_one_byte_and_for_head_no_more() -> None:
    loop = Loop(GET=headers(206, etag='"abc"', content_range="bytes 0-0/77", content_length="1"))
    assert loop.probe(times=2) == ModelProbe('"abc"', 77)
    assert loop.asked == ["HEAD", "GET bytes=0-0", "GET bytes=0-0"]


def test_a_loop_that_knows_no_ranges_either_is_left_before_it_has_sent_the_model() -> None:
    sent = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def] # a generator, whatever its type
            nonlocal sent
            while True:
                sent += 1
                yield b"x" * 1000

    loop = Loop(GET=httpx.Response(200, headers={"content-length": "1000000"}, stream=Endless()))
    assert loop.probe() == ModelProbe(None, 1_000_000)
    assert sent == 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (headers(404), NotInLoop),
        (headers(503), LoopBusy),
        (headers(302, location="http://elsewhere"), LoopUnreachable),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_is_no_answer_is_one_of_our_errors(method: str, answer: httpx.Response, kind: type[LoopError]) -> None:
    answer.request = httpx.Request(method, "http://loop.example")
    with pytest.raises(kind):
        Loop(**{method: answer}).probe()
