"""A Learning Loop asked over HTTP: login, answers of every kind, errors as sentences."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from models.errors import (
    AlreadyInLoop,
    LoginFailed,
    LoopBusy,
    LoopError,
    LoopRefused,
    LoopUnreachable,
    NotInLoop,
)
from models.loop.client import LoopClient, LoopProject
from models.loop.uploads import ImageUpload
from models.wire.loop import DetectorStatus
from tests.support.virtual_time import in_virtual_time, run_in_virtual_time

TARGET = {"model_uuid": "00000000-0000-0000-0000-000000000011", "version": "1.1"}
STATUS = DetectorStatus(uuid="12345", name="robot-7", model_format="litert")


class FakeLoop:
    """Answers as it is told, and writes down what was asked. A session lasts until `end_sessions`."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[httpx.Request] = []
        self.logins: list[dict[str, str]] = []
        self.answers: dict[str, Callable[[httpx.Request], httpx.Response]] = {}
        self.login_answer: Callable[[], httpx.Response] | None = None
        self.login_takes = 0.0
        self._session = 0

    def end_sessions(self) -> None:
        self._session += 1

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.asked]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.asked.append(request)
        if request.url.path == "/api/login":
            self.logins.append(dict(httpx.QueryParams(request.content.decode())))
            await asyncio.sleep(self.login_takes)
            if self.login_answer is not None:
                return self.login_answer()
            return httpx.Response(200, headers={"set-cookie": f"session=s{self._session}; Path=/"})
        open_to_all = request.url.path.endswith(("/status", "/file")) or (
            request.method == "POST" and request.url.path.endswith("/images")
        )
        if not open_to_all and request.headers.get("cookie") != f"session=s{self._session}":
            return httpx.Response(401, json={"detail": "log in first"})
        for end, answer in self.answers.items():
            if request.url.path.endswith(end):
                return answer(request)
        return httpx.Response(404, json={"detail": "not found"})

    def client(self, **options: Any) -> LoopClient:
        return LoopClient("loop.example:8014", transport=httpx.MockTransport(self), **options)

    def project(self, **options: Any) -> LoopProject:
        return self.client(**options).project("zauberzeug", "demo")


def target_loop() -> FakeLoop:
    """One with a deployment target."""
    loop = FakeLoop()
    loop.answers["/deployment/target"] = lambda _: httpx.Response(200, json=TARGET)
    return loop


def answering(status: int, **options: Any) -> Callable[[httpx.Request], httpx.Response]:
    """The same answer always."""
    return lambda _: httpx.Response(status, **options)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@in_virtual_time
async def test_a_client_without_a_session_logs_in_first_and_keeps_the_session() -> None:
    loop = target_loop()
    project = loop.project(username="robot", password="s3cret&more")

    for _ in range(2):
        target = await project.deployment_target()
        assert target is not None
        assert (target.model_uuid, target.version) == (TARGET["model_uuid"], "1.1")

    assert loop.paths == [
        "POST /api/login",
        "GET /api/zauberzeug/projects/demo/deployment/target",
        "GET /api/zauberzeug/projects/demo/deployment/target",
    ]
    assert loop.logins == [{"username": "robot", "password": "s3cret&more"}]
    assert loop.asked[0].headers["content-type"] == "application/x-www-form-urlencoded"


@in_virtual_time
async def test_without_a_user_the_login_is_empty() -> None:
    loop = target_loop()
    await loop.project().deployment_target()
    assert loop.asked[0].content == b"username=&password="


@in_virtual_time
async def test_a_session_that_ended_is_renewed_once_and_the_call_made_again() -> None:
    loop = target_loop()
    project = loop.project()
    await project.deployment_target()
    loop.end_sessions()
    loop.asked.clear()

    assert await project.deployment_target() is not None
    target = "GET /api/zauberzeug/projects/demo/deployment/target"
    assert loop.paths == [target, "POST /api/login", target]
    assert [request.headers.get("cookie") for request in loop.asked] == ["session=s0", None, "session=s1"]


@in_virtual_time
async def test_a_loop_that_always_answers_401_is_asked_twice_and_no_more() -> None:
    loop = FakeLoop()
    loop.answers["/models"] = answering(401, json={"detail": "nobody may"})
    with pytest.raises(LoginFailed, match=r"wants a login for the models .* nobody may.*LOOP_USERNAME") as failure:
        await loop.project().models()
    models = "GET /api/zauberzeug/projects/demo/models"
    assert loop.paths == ["POST /api/login", models, "POST /api/login", models]
    assert failure.value.status == 401


@in_virtual_time
async def test_calls_at_the_same_time_share_one_login() -> None:
    loop = target_loop()
    loop.login_takes = 1.0
    project = loop.project()
    await asyncio.gather(*(project.deployment_target() for _ in range(10)))
    assert len(loop.logins) == 1

    loop.end_sessions()
    await asyncio.gather(*(project.deployment_target() for _ in range(10)))
    assert len(loop.logins) == 2


@in_virtual_time
async def test_calls_at_the_same_time_share_a_refused_login_and_a_wrong_password_is_not_hammered() -> None:
    clock = Clock()
    loop = target_loop()
    loop.login_takes = 1.0
    loop.login_answer = lambda: httpx.Response(401, json={"detail": "wrong password"})
    project = loop.project(username="robot", password="wrong", now=clock)
    failures = await asyncio.gather(*(project.deployment_target() for _ in range(5)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [LoginFailed] * 5
    assert all("wrong password" in str(failure) for failure in failures)
    assert len(loop.logins) == 1

    with pytest.raises(LoginFailed):
        await project.deployment_target()
    assert len(loop.logins) == 1, "asked again at once"

    loop.login_answer = None
    clock.seconds += 20
    assert await project.deployment_target() is not None
    assert len(loop.logins) == 2


@in_virtual_time
async def test_a_caller_that_gives_up_during_the_login_spoils_it_for_nobody() -> None:
    loop = target_loop()
    loop.login_takes = 1.0
    project = loop.project()
    impatient = asyncio.create_task(project.deployment_target())
    await asyncio.sleep(0)
    patient = asyncio.create_task(project.deployment_target())
    await asyncio.sleep(0.5)
    impatient.cancel()
    assert await patient is not None


@in_virtual_time
async def test_a_busy_login_is_no_wrong_password() -> None:
    loop = target_loop()
    loop.login_answer = lambda: httpx.Response(503, headers={"retry-after": "7"}, text="upgrading")
    project = loop.project()
    with pytest.raises(LoopBusy) as failure:
        await project.deployment_target()
    assert failure.value.retry_after == 7
    loop.login_answer = None
    assert await project.deployment_target() is not None


@in_virtual_time
async def test_pictures_go_without_login_and_in_pairs() -> None:
    loop = FakeLoop()
    loop.answers["/images"] = answering(200, json="OK")
    batch = [
        ImageUpload("2024-01-01_12:34:56.123456", b"\xff\xd8 jpeg one", b'{"tags": ["a"]}'),
        ImageUpload("2024-01-01_12-34-57.000001", b"\xff\xd8 jpeg two", b"{}"),
    ]
    await loop.project().upload_images(batch)

    (request,) = loop.asked
    assert "cookie" not in request.headers
    assert int(request.headers["content-length"]) == len(request.content)
    parts = await parts_of(request)
    assert parts == [
        ("files", "image_2024-01-01_12%3A34%3A56.123456.json", "application/json", b'{"tags": ["a"]}'),
        ("files", "image_2024-01-01_12%3A34%3A56.123456.jpg", "image/jpeg", b"\xff\xd8 jpeg one"),
        ("files", "image_2024-01-01_12-34-57.000001.json", "application/json", b"{}"),
        ("files", "image_2024-01-01_12-34-57.000001.jpg", "image/jpeg", b"\xff\xd8 jpeg two"),
    ]


async def parts_of(request: httpx.Request) -> list[tuple[str, str, str, bytes]]:
    """Name, file name, content type and bytes of each part, as the library reads them that servers use."""
    stream = request.content

    async def pieces() -> Any:
        yield stream

    form = await MultiPartParser(Headers(raw=request.headers.raw), pieces()).parse()
    found = []
    for name, part in form.multi_items():
        assert isinstance(part, UploadFile)
        found.append((name, part.filename or "", part.content_type or "", await part.read()))
        await part.close()
    return found


PICTURE = [ImageUpload("1", b"jpeg", b"{}")]


@in_virtual_time
async def test_a_throttle_is_asked_before_bytes_leave_and_for_all_of_them() -> None:
    loop = FakeLoop()
    loop.answers["/images"] = answering(200)
    allowed: list[int] = []

    async def throttle(size: int) -> None:
        assert not loop.asked
        allowed.append(size)

    await loop.project().upload_images([ImageUpload("1", bytes(100_000), b"{}")], throttle=throttle)
    assert sum(allowed) == len(loop.asked[0].content)
    assert max(allowed) <= 64 * 1024
    assert loop.asked[0].content.count(b"\0") == 100_000


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        pytest.param(httpx.Response(422, json={"detail": "image 1 is broken"}), LoopRefused, "422 .*image 1 is broken"),
        pytest.param(httpx.Response(413, text="too large"), LoopRefused, "too large"),
        pytest.param(httpx.Response(404, json={"detail": "no such project"}), NotInLoop, "no such project"),
        pytest.param(httpx.Response(408), LoopBusy, "come again later"),
        pytest.param(httpx.Response(429), LoopBusy, "come again later"),
        pytest.param(httpx.Response(500, text="Internal Server Error"), LoopBusy, "Internal Server Error"),
        pytest.param(httpx.Response(502, html="<title>502 Bad Gateway</title>"), LoopBusy, "502 Bad Gateway"),
        pytest.param(httpx.Response(200, html="<title>Hotel &amp; Bar</title>"), LoopUnreachable, "Hotel & Bar"),
        pytest.param(httpx.Response(204), LoopUnreachable, "nothing at all"),
        pytest.param(httpx.Response(302, headers={"location": "https://x.example/"}), LoopUnreachable, "LOOP_HOST"),
    ],
)
def test_pictures_are_taken_for_stored_only_if_the_loop_says_so(
    answer: httpx.Response, kind: type[LoopError], words: str
) -> None:
    async def story() -> None:
        loop = FakeLoop()
        loop.answers["/images"] = lambda _: answer
        with pytest.raises(kind, match=words) as failure:
            await loop.project().upload_images(PICTURE)
        assert type(failure.value) is kind
        assert failure.value.status == answer.status_code

    run_in_virtual_time(story())


@in_virtual_time
async def test_a_detector_reports_itself() -> None:
    loop = FakeLoop()
    loop.answers["/detectors"] = answering(201, json="OK")
    await loop.project().report_detector(STATUS)
    assert json.loads(loop.asked[-1].content)["uuid"] == "12345"
    assert loop.asked[-1].headers["content-type"] == "application/json"


@in_virtual_time
async def test_models_are_listed_all_or_in_one_format() -> None:
    loop = FakeLoop()
    listed = {"id": "1", "version": None, "formats": None, "created": "2024", "comment": "", "more": 1}
    loop.answers["/models"] = answering(200, json={"models": [listed]})
    project = loop.project()
    (model,) = await project.models()
    assert (model.id, model.version, model.formats) == ("1", None, [])
    await project.models("litert")
    assert loop.paths[-2:] == [
        "GET /api/zauberzeug/projects/demo/models",
        "GET /api/zauberzeug/projects/demo/models?format=litert",
    ]


@pytest.mark.parametrize("answer", [httpx.Response(404, json={"detail": "none"}), httpx.Response(200, text="null")])
def test_no_deployment_target_is_no_error(answer: httpx.Response) -> None:
    async def story() -> None:
        loop = FakeLoop()
        loop.answers["/deployment/target"] = lambda _: answer
        assert await loop.project().deployment_target() is None

    run_in_virtual_time(story())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(httpx.Response(200, text="hello"), "no JSON.*'hello'", id="text"),
        pytest.param(httpx.Response(200, html="<html><title>Login</title>"), "web page: Login", id="web page"),
        pytest.param(httpx.Response(200, text="<p>x"), "a web page;", id="web page that does not say so"),
        pytest.param(
            httpx.Response(404, html="<title>Nothing here</title>"), "no Learning Loop.*Nothing here", id="404"
        ),
        pytest.param(httpx.Response(200), "nothing at all", id="nothing"),
        pytest.param(httpx.Response(200, json=[]), "does not fit", id="a list"),
        pytest.param(httpx.Response(200, json={"model_uuid": 7, "version": "1"}), "model_uuid", id="wrong type"),
        pytest.param(httpx.Response(200, text="[" * 100_000), "no JSON", id="deep"),
        pytest.param(httpx.Response(200, content=b"\xff\xfe"), "no JSON", id="no text"),
        pytest.param(httpx.Response(200, content=b" " * 17_000_000), "more than 16384 KiB", id="endless"),
        pytest.param(
            httpx.Response(200, content=gzip.compress(b"{}"), headers={"content-encoding": "gzip"}),
            "encoding 'gzip'",
            id="compressed",
        ),
        pytest.param(
            httpx.Response(307, headers={"location": "https://x.example/a"}), "https://x.example/a", id="redirect"
        ),
    ],
)
def test_an_answer_that_is_none_of_a_loops_is_told_in_a_short_sentence(answer: httpx.Response, words: str) -> None:
    async def story() -> None:
        loop = FakeLoop()
        loop.answers["/deployment/target"] = lambda _: answer
        with pytest.raises(LoopUnreachable, match=words) as failure:
            await loop.project().deployment_target()
        assert "http://loop.example:8014" in str(failure.value)
        assert len(str(failure.value)) < 500
        assert "<" not in str(failure.value)

    run_in_virtual_time(story())


@in_virtual_time
async def test_a_conflict_carries_the_id_of_what_is_there() -> None:
    loop = FakeLoop()
    loop.answers["/models"] = answering(409, json={"detail": {"id": "abc"}})
    with pytest.raises(AlreadyInLoop) as failure:
        await loop.project().models()
    assert failure.value.id == "abc"


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (answering(200, json={"status": "ok"}), True),
        (answering(200), True),
        (answering(503), False),
        (answering(200, html="<p>hotel"), False),
        (answering(404), False),
    ],
)
def test_a_loop_is_ready_when_its_status_says_so(
    answer: Callable[[httpx.Request], httpx.Response], ready: bool
) -> None:
    async def story() -> None:
        loop = FakeLoop()
        loop.answers["/status"] = answer
        assert await loop.client().is_ready() is ready
        assert loop.paths == ["GET /api/status"], "it logged in"

    run_in_virtual_time(story())


@in_virtual_time
async def test_nobody_answering_is_not_ready_and_told_with_the_reason() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed") from ConnectionRefusedError(
            111, "Connection refused"
        )

    client = LoopClient("loop.example", transport=httpx.MockTransport(refuse))
    assert not await client.is_ready()
    with pytest.raises(
        LoopUnreachable, match=r"no connection to .* http://loop.example \(Connection refused\)"
    ) as failure:
        await client.project("o", "p").models()
    assert failure.value.status is None


@in_virtual_time
async def test_an_answer_that_never_comes_is_waited_for_a_minute() -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(10_000)
        raise AssertionError

    before = asyncio.get_running_loop().time()
    client = LoopClient("loop.example", transport=httpx.MockTransport(never))
    with pytest.raises(LoopUnreachable, match="did not answer within 60 s"):
        await client.project("o", "p").deployment_target()
    assert asyncio.get_running_loop().time() - before == pytest.approx(60, abs=1)


@in_virtual_time
async def test_a_connection_closed_as_idle_is_tried_once_more_where_that_does_no_harm() -> None:
    loop = target_loop()
    broken = ["once"]

    def answer(request: httpx.Request) -> httpx.Response:
        if broken:
            broken.pop()
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(200, json=TARGET)

    loop.answers["/deployment/target"] = answer
    loop.answers["/images"] = answer
    project = loop.project()
    assert await project.deployment_target() is not None

    broken.append("once")
    with pytest.raises(LoopUnreachable, match="broke off"):
        await project.upload_images(PICTURE)
    assert not broken, "sent twice"


@in_virtual_time
async def test_names_cannot_leave_their_place_in_the_path() -> None:
    loop = FakeLoop()
    client = loop.client()
    with pytest.raises(NotInLoop):
        await client.project("a/../../b", "c d?x=1").models()
    assert loop.paths[-1] == "GET /api/a%2F..%2F..%2Fb/projects/c%20d%3Fx%3D1/models"
    with pytest.raises(NotInLoop, match=r"named '\.\.'"):
        client.project("..", "demo")


@in_virtual_time
async def test_a_closed_client_says_so() -> None:
    client = target_loop().client()
    assert await client.project("o", "p").deployment_target() is not None
    await client.close()
    with pytest.raises(LoopUnreachable, match="is closed"):
        await client.project("o", "p").deployment_target()
    await client.close()


@in_virtual_time
async def test_a_client_that_is_closed_during_the_login_says_so() -> None:
    loop = target_loop()
    loop.login_takes = 1.0
    client = loop.client()
    call = asyncio.create_task(client.project("o", "p").deployment_target())
    await asyncio.sleep(0.5)
    await client.close()
    with pytest.raises(LoopUnreachable, match="is closed"):
        await call
