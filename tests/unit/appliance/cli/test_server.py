"""What a command makes of a server that answers oddly, or not at all."""

from __future__ import annotations

import httpx
import pytest

from appliance.cli.server import Server
from models.errors import DetectionUnavailable, DetectorApplianceError, InvalidInput, UnknownVersion
from tests.unit.appliance.cli.conftest import SERVER, Handler


def server(handler: Handler) -> Server:
    return Server(SERVER, httpx.MockTransport(handler))


def raising(error: httpx.TransportError) -> Handler:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, UnknownVersion), (413, InvalidInput), (422, InvalidInput), (503, DetectionUnavailable)],
)
def test_refusals_become_errors_of_their_kind(status: int, kind: type[DetectorApplianceError]) -> None:
    with pytest.raises(kind, match="too much of it"):
        server(lambda _: httpx.Response(status, json={"detail": "too much of it"})).about()


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (raising(httpx.ConnectError("refused")), "cannot be reached: refused"),
        (raising(httpx.ReadTimeout("slow")), "did not answer in time"),
        (lambda _: httpx.Response(200, text="<html>"), "did not answer as an appliance does"),
        (lambda _: httpx.Response(200, json=[1]), "did not answer as an appliance does"),
        (lambda _: httpx.Response(500, text="oh"), "The server answered 500: oh"),
    ],
)
def test_everything_else_is_told_in_words(handler: Handler, told: str) -> None:
    with pytest.raises(DetectorApplianceError, match=told):
        server(handler).about()


def test_readiness_is_a_question_that_a_dead_server_answers_too() -> None:
    assert server(lambda _: httpx.Response(200)).is_ready()
    assert not server(lambda _: httpx.Response(503)).is_ready()
    assert not server(raising(httpx.ConnectError("refused"))).is_ready()


def test_a_picture_that_is_looked_at_by_hand_is_not_kept() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        return httpx.Response(200, json={})

    server(handler).detect(b"picture", "photo.jpg")
    assert seen[0].headers["autoupload"] == "disabled"
    assert b'name="file"; filename="photo.jpg"' in seen[0].content


def test_a_model_that_never_comes_is_waited_for_so_long_and_no_longer() -> None:
    loading = server(lambda _: httpx.Response(200, json={"target_model": "2.0", "model_info": {"version": "1.0"}}))
    pauses: list[float] = []
    with pytest.raises(DetectorApplianceError, match=r"Version 2\.0 was not loaded within 0 s"):
        loading.wait_for_version(0.0, pauses.append)
    assert len(pauses) <= 1
