"""Who may do what, walked route by route: nothing is open by oversight."""

from __future__ import annotations

import asyncio
import http.client
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from access import Right, walk
from appliance.loop_server.app import LoopServerSettings, build, rest
from appliance.loop_server.rights import LOOP_TABLE
from tests.service.loop_server.conftest import ADMIN, ELSEWHERE, USER
from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import jpeg, metadata, pair
from tests.service.running_loop import RunningLoop

OPEN = {
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /redoc",
    "GET /openapi.json",
    "* /static-offline-docs/{path:path}",
    "GET /api/status",
    "POST /api/login",
    "POST /api/logout",
    "POST /api/{organization}/projects/{project}/images",
    "GET /api/{organization}/projects/{project}/models/{model_id}/{format}/file",
}
FOR_NODES = {
    "GET /api/{organization}/projects/{project}/models",
    "GET /api/{organization}/projects/{project}/deployment/target",
    "POST /api/{organization}/projects/{project}/detectors",
}
FOR_ADMINISTRATORS = {
    "GET /api/users",
    "POST /api/users",
    "PUT /api/users/{name}/password",
    "DELETE /api/users/{name}",
}


def routes(folder: Path) -> set[str]:
    services = build(LoopServerSettings(folder))
    try:
        return {f"{method} {path}" for method, path in walk(rest(services).routes)}
    finally:
        asyncio.run(services.database.close())


def test_every_route_has_the_right_that_it_should_have(tmp_path: Path) -> None:
    expected = {
        **dict.fromkeys(OPEN, Right.OPEN),
        **dict.fromkeys(FOR_NODES, Right.NODE),
        **dict.fromkeys(FOR_ADMINISTRATORS, Right.ADMINISTRATE),
    }
    found = routes(tmp_path)
    assert expected.keys() <= found, "a route of the lists is gone"
    for route in found:
        method, path = route.split(" ")
        filled = path.replace("{path:path}", "x").replace("{", "").replace("}", "")
        method = "GET" if method == "*" else method
        assert LOOP_TABLE.right_to(method, filled) is expected.get(route, Right.CHANGE_OR_SEE), route


def test_every_route_is_named_by_a_rule(tmp_path: Path) -> None:
    assert LOOP_TABLE.unlisted(tuple(route.split(" ")) for route in routes(tmp_path)) == []  # type: ignore[misc]


def test_strangers_reach_what_is_open_and_nothing_else(loop: RunningLoop) -> None:
    shop = Shop(loop)
    stranger = loop.client(ELSEWHERE)
    assert stranger.get("/api/status").status_code == 200
    assert stranger.post(f"{shop.path}/images", files=pair("image_1", jpeg(1), metadata())).status_code == 200
    assert stranger.get(f"{shop.path}/models/nobody/litert/file").status_code == 404
    for method, path in [
        ("GET", f"{shop.path}/images/{shop.ids()[0]}/main"),
        ("GET", f"{shop.path}/data"),
        ("GET", f"{shop.path}/images"),
        ("GET", f"{shop.path}/models"),
        ("GET", f"{shop.path}/deployment/target"),
        ("POST", f"{shop.path}/detections"),
        ("POST", f"{shop.path}/litert"),
        ("DELETE", shop.path),
        ("GET", "/api/projects"),
        ("POST", "/api/acme/projects"),
    ]:
        assert stranger.request(method, path).status_code == 401, path


@pytest.mark.parametrize("how", [{}, {"x-api-key": "K"}], ids=["with nothing", "with the key of a device"])
def test_strangers_are_told_the_way_into_the_loop_and_not_that_into_a_device(
    loop: RunningLoop, how: dict[str, str]
) -> None:
    answer = loop.client(ELSEWHERE).get("/api/users", headers=how)
    assert answer.headers["www-authenticate"] == 'Basic realm="loop"'
    assert "Otherwise log in: by POST /api/login" in answer.json()["detail"]
    assert "key" not in answer.json()["detail"]


def test_a_detector_without_a_name_reads_what_it_needs(loop: RunningLoop) -> None:
    shop = Shop(loop)
    detector = loop.client(ELSEWHERE)
    assert detector.post("/api/login", data={"username": "", "password": ""}).status_code == 200
    assert detector.get(f"{shop.path}/models").status_code == 200
    assert detector.get(f"{shop.path}/deployment/target").status_code == 404
    assert detector.get(f"{shop.path}/data").status_code == 403


def test_a_user_may_do_everything_but_administrate(loop: RunningLoop) -> None:
    shop = Shop(loop)
    bob = loop.client(ELSEWHERE)
    assert bob.post("/api/login", data={"username": USER[0], "password": USER[1]}).status_code == 200
    assert bob.get(f"{shop.path}/data").status_code == 200
    assert bob.delete(shop.path).status_code == 200
    assert bob.get("/api/users").status_code == 403


def test_networks_that_are_trusted_need_no_login(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, trusted_networks=(ip_network("203.0.113.0/24"),)) as loop:
        assert loop.client(ELSEWHERE).get("/api/users").status_code == 200
        assert loop.client(("198.51.100.1", 4711)).get("/api/users").status_code == 401


# What is open is bounded


def padded(comments: int) -> bytes:
    """A picture with so many comments of 64 KiB in it."""
    return jpeg(1)[:2] + (b"\xff\xfe\xff\xff" + b"x" * 65533) * comments + jpeg(1)[2:]


def test_strangers_who_upload_too_often_are_told_when_to_go_on(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, open_requests_per_minute=3, username=ADMIN[0], password=ADMIN[1]) as loop:
        shop = Shop(loop)
        answers = [shop.upload(pair(f"image_{number}", jpeg(number), metadata())) for number in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert "go on in" in answers[-1].json()["detail"]
        assert len(shop.ids()) == 3
        download = f"{shop.path}/models/nobody/litert/file"
        assert loop.client(ELSEWHERE).get(download).status_code == 429
        assert loop.client(("198.51.100.1", 4711)).get(download).status_code == 404
        ann = loop.client(ELSEWHERE)
        ann.post("/api/login", data={"username": ADMIN[0], "password": ADMIN[1]})
        form = pair("image_9", jpeg(9), metadata())
        assert ann.post(f"{shop.path}/images", files=form).status_code == 200
        assert loop.http.post(f"{shop.path}/images", files=form).status_code == 200


def test_strangers_who_upload_too_much_are_told_when_to_go_on(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, open_mb_per_minute=1) as loop:
        shop = Shop(loop)
        assert shop.upload(pair("image_1", padded(20), metadata())).status_code == 200
        answer = shop.upload(pair("image_2", jpeg(2), metadata()))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 10


def test_a_form_that_is_too_large_is_422_so_that_clients_halve_it(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, max_upload_mb=1) as loop:
        shop = Shop(loop)
        answer = shop.upload(pair("image_1", padded(33), metadata()))
        assert answer.status_code == 422
        assert "send fewer pictures at once" in answer.json()["detail"]
        assert loop.services.budget.taken == 0


def test_a_connection_that_breaks_off_is_no_fault_of_the_picture(loop: RunningLoop) -> None:
    """A client drops what is answered with 422: a line that went dead must not cost a picture."""
    shop = Shop(loop)
    sent: list[int] = []

    async def story() -> None:
        messages = iter([{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> object:
            return next(messages)

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                assert isinstance(status, int)
                sent.append(status)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": f"{shop.path}/images",
            "raw_path": f"{shop.path}/images".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")],
            "client": ELSEWHERE,
            "server": ("localhost", 80),
        }
        await loop.asgi(scope, receive, send)  # type: ignore[arg-type]

    loop.run(story())
    assert sent == [408]
    assert loop.services.budget.taken == 0
    assert shop.ids() == []


def test_a_body_that_is_no_picture_is_bounded_for_everybody(loop: RunningLoop) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", loop.port, timeout=60)
    try:
        connection.putrequest("POST", f"{Shop(loop).path}/detections")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(10**10))
        connection.endheaders()
        before = time.monotonic()
        assert connection.getresponse().status == 413
        assert time.monotonic() - before < 30
    finally:
        connection.close()


def test_nobody_fills_the_memory_with_a_login(loop: RunningLoop) -> None:
    assert loop.client(ELSEWHERE).post("/api/login", content=b"x" * 100_000).status_code == 413


def test_what_a_nameless_node_sends_is_small(loop: RunningLoop) -> None:
    shop = Shop(loop)
    detector = loop.client(ELSEWHERE)
    detector.post("/api/login", data={"username": "", "password": ""})
    status = {"uuid": "1", "name": "box", "model_format": "litert", "errors": {"x": "y" * 300_000}}
    assert detector.post(f"{shop.path}/detectors", json=status).status_code == 413
    assert detector.post(f"{shop.path}/detectors", json={**status, "errors": {}}).status_code == 200
    assert loop.services.budget.taken == 0
