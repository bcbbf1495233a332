"""Who may do what, asked of the running box route by route and event by event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from access import Right, walk
from appliance.api_keys import FILE_NAME, ApiKeys
from appliance.app import rest
from appliance.device_table import DEVICE_TABLE
from models.files import FILE_SYSTEM
from tests.service.box import STRANGER, Box
from tests.service.conftest import MakeBox
from tests.service.outbox import pictures_in
from tests.service.photographs import CAT, CUP

TRUSTED = ("198.51.100.4", 40000)
PROXY = ("198.51.100.250", 40000)


@pytest.fixture(scope="module")
def gate(make_box: MakeBox) -> Box:
    """A box in a network: one is trusted, one machine is a trusted proxy, all others are strangers."""
    return make_box(
        trusted_networks=["198.51.100.0/28"],
        trusted_proxies=["198.51.100.250"],
        allowed_hosts=["box.example.org"],
        use_backdoor_controls=True,
    )


@pytest.fixture(scope="module")
def key(gate: Box) -> str:
    """An API key of that box."""
    return known_key(gate, ApiKeys(gate.data / FILE_NAME, FILE_SYSTEM), "robot-7")


def known_key(box: Box, keys: ApiKeys, name: str) -> str:
    """A new key, as soon as the server knows it: it looks once a second."""
    text = keys.create(name)
    box.wait_until(lambda: status_of(box, "GET", "/api/v1/outbox", client=STRANGER, headers={"x-api-key": text}) == 200)
    return text


def routes(box: Box) -> list[tuple[str, str]]:
    """Every method and path that the box serves over HTTP."""
    return list(walk(rest(box.services).routes))


def status_of(box: Box, method: str, path: str, **how: Any) -> int:
    """Ask for a route without what it needs beyond access."""
    return box.ask(method, path.replace("{version}", "7.7").replace("{path:path}", "x"), **how).status_code


def test_every_route_and_event_has_its_place_in_the_table(gate: Box) -> None:
    assert DEVICE_TABLE.unlisted(routes(gate)) == []
    from appliance.events import Events

    assert set(Events(gate.services).handlers) == set(DEVICE_TABLE.events)


def test_a_stranger_gets_what_is_open_and_nothing_else(gate: Box) -> None:
    walked = routes(gate)
    assert ("POST", "/detect") in walked
    assert ("POST", "/reset") in walked
    for method, path in walked:
        status = status_of(gate, method, path, client=STRANGER)
        if DEVICE_TABLE.right_to(method, path) is Right.CHANGE_OR_SEE:
            assert status == 401, f"{method} {path}"
        else:
            assert status not in {401, 403}, f"{method} {path}"


@pytest.mark.parametrize(
    "way",
    ["loopback", "loopback of IPv6", "loopback as IPv6 writes it", "trusted network", "bearer", "x-api-key"],
)
def test_who_is_known_gets_everything(gate: Box, key: str, way: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "loopback": {"client": ("127.0.0.1", 1)},
        "loopback of IPv6": {"client": ("::1", 1)},
        "loopback as IPv6 writes it": {"client": ("::ffff:127.0.0.1", 1)},
        "trusted network": {"client": TRUSTED},
        "bearer": {"client": STRANGER, "headers": {"authorization": f"Bearer {key}"}},
        "x-api-key": {"client": STRANGER, "headers": {"x-api-key": key}},
    }

    for method, path in routes(gate):
        assert status_of(gate, method, path, **ways[way]) not in {401, 403}, f"{method} {path}"


@pytest.mark.parametrize("wrong", ["", "nonsense", "Bearer ", "da-0000000000000000000000000000000000000000"])
def test_a_wrong_key_is_no_key(gate: Box, wrong: str) -> None:
    refused = gate.ask("PUT", "/outbox_mode", content="stopped", client=STRANGER, headers={"x-api-key": wrong})

    assert refused.status_code == 401
    assert "appliance keys" in refused.json()["detail"], "it says how one gets a key"
    assert gate.http.get("/outbox_mode").text == "continuous_upload"


def test_detection_can_be_closed_to_strangers(make_box: MakeBox) -> None:
    box = make_box(open_detection=False)

    for method, path in routes(box):
        status = status_of(box, method, path, client=STRANGER)
        if DEVICE_TABLE.right_to(method, path) is Right.OPEN:
            assert status not in {401, 403}, f"{method} {path}"
        else:
            assert status == 401, f"{method} {path}"
    assert box.detects(CAT.jpeg)


FORGED: dict[str, dict[str, Any]] = {
    "a page of another site": {"headers": {"origin": "https://evil.example"}},
    "a page of another port": {"headers": {"origin": "http://192.0.2.1:9999"}},
    "a page without an origin": {"headers": {"origin": "null"}},
    "a form of another site": {"headers": {"sec-fetch-site": "cross-site"}},
    "a name that points here (DNS rebinding)": {"base_url": "http://evil.example:8004"},
    "a name that begins like ours": {"base_url": "http://testbox.evil.example:8004"},
    "two hosts": {"headers": [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]},
    "a host that is none": {"headers": {"host": "evil example"}},
}


@pytest.mark.parametrize("case", FORGED)
def test_a_page_of_another_site_gets_nothing_changed_though_its_browser_runs_here(gate: Box, case: str) -> None:
    for method, path in routes(gate):
        if method != "GET" or "base_url" in FORGED[case]:
            refused = gate.ask(method, path.replace("{version}", "7.7"), **FORGED[case])
            assert refused.status_code == 403, f"{method} {path}"
            assert len(refused.json()["detail"]) > 40


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:8004", "http://[::1]:8004", "http://localhost:8004", "http://testbox", "http://testbox.local:8004",
     "http://TESTBOX.:8004", "http://box.example.org", "http://192.0.2.77:8004"],
)  # fmt: skip
def test_the_box_knows_its_names(gate: Box, base_url: str) -> None:
    assert gate.ask("GET", "/about", base_url=base_url).status_code == 200


def test_its_own_pages_may_use_it(gate: Box) -> None:
    own = {"origin": "http://192.0.2.1:8004", "sec-fetch-site": "same-origin"}

    assert gate.ask("PUT", "/outbox_mode", content="continuous_upload", headers=own).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-for": "198.51.100.4"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"x-forwarded-host": "localhost"},
    ],
    ids=lambda header: next(iter(header)) if isinstance(header, dict) else None,
)
def test_who_says_that_somebody_else_asks_is_a_stranger(gate: Box, header: dict[str, str]) -> None:
    for client in (("127.0.0.1", 1), TRUSTED, STRANGER):
        refused = gate.ask("PUT", "/outbox_mode", content="stopped", client=client, headers=header)
        assert refused.status_code == 401, client
    assert gate.http.get("/outbox_mode").text == "continuous_upload"


def test_a_trusted_proxy_is_believed_whom_it_asks_for(gate: Box) -> None:
    def through_the_proxy(address: str) -> int:
        headers = {"x-forwarded-for": address}
        return gate.ask("GET", "/api/v1/settings", client=PROXY, headers=headers).status_code

    assert through_the_proxy("198.51.100.4") == 200
    assert through_the_proxy("203.0.113.7") == 401
    assert through_the_proxy("198.51.100.4, 203.0.113.7") == 401, "what stands on the left may be made up"
    assert through_the_proxy("127.0.0.1") == 401


def test_a_stranger_detects_but_fills_no_outbox(gate: Box) -> None:
    before = len(pictures_in(gate))

    for wanted in ("all", "filtered", ""):
        headers = {"autoupload": wanted, "camera-id": f"stranger {wanted}"}
        answer = gate.ask("POST", "/detect", client=STRANGER, files={"file": CUP.jpeg}, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["box_detections"]
        assert "x-upload-reasons" not in answer.headers
    assert gate.services.picks.counts().wanted == 0
    assert len(pictures_in(gate)) == before


FORWARDED = {"x-forwarded-for": "127.0.0.1"}
"""Makes a client on loopback a stranger."""

EVENTS: dict[str, tuple[Any, ...]] = {
    "detect": ({"image": CAT.jpeg, "autoupload": "all"},),
    "batch_detect": ({"images": [CAT.jpeg], "autoupload": "all"},),
    "upload": ({"image": CAT.jpeg},),
    "info": (),
    "about": (),
    "get_model_version": (),
    "set_model_version_mode": ("follow_loop",),
    "get_outbox_mode": (),
    "set_outbox_mode": ("continuous_upload",),
    "soft_reload": (),
    "get_update": (),
    "get_update_lock": (),
    "set_update_lock": (0,),
}


@pytest.mark.parametrize("event", DEVICE_TABLE.events)
@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=["websocket", "polling"])
def test_a_stranger_may_send_the_events_that_are_open_over_every_transport(
    gate: Box, event: str, transports: list[str]
) -> None:
    answer = gate.call(event, *EVENTS[event], headers=FORWARDED, transports=transports)

    refused = isinstance(answer, dict) and list(answer) == ["error"] and "no trusted proxy" in answer["error"]
    assert refused == (DEVICE_TABLE.right_to_event(event) is Right.CHANGE_OR_SEE)
    assert pictures_in(gate) == []
    assert gate.services.picks.counts().wanted == 0


@pytest.mark.parametrize("event", DEVICE_TABLE.events)
def test_with_a_key_every_event_is_open(gate: Box, key: str, event: str) -> None:
    if event == "upload":
        return  # its own story
    data = ({**EVENTS[event][0], "autoupload": "disabled"},) if event.endswith("detect") else EVENTS[event]

    for how in ({"auth": {"api_key": key}, "headers": FORWARDED}, {"headers": {**FORWARDED, "x-api-key": key}}, {}):
        answer = gate.call(event, *data, **how)
        assert list(answer) != ["error"], answer


def test_a_key_is_revoked_then_open_connections_lose_it(gate: Box) -> None:
    keys = ApiKeys(gate.data / FILE_NAME, FILE_SYSTEM)
    text = known_key(gate, keys, "robot-8")

    async def story(robot: Any) -> tuple[Any, Any]:
        before = after = await robot.call("set_outbox_mode", "continuous_upload", timeout=5)
        await asyncio.to_thread(keys.revoke, "robot-8")
        until = time.monotonic() + 5  # the server looks at the keys once a second
        while "error" not in after and time.monotonic() < until:
            after = await robot.call("set_outbox_mode", "continuous_upload", timeout=5)
        return before, after

    before, after = gate.talk(story, headers=FORWARDED, auth={"api_key": text})

    assert before == {"status": "OK"}
    assert "mistyped or was revoked" in after["error"]


@pytest.mark.parametrize("auth", [{"api_key": "wrong"}, {"api_key": 5}, {"api_key": None}, "text", ["list"], {}])
def test_a_key_of_the_wrong_kind_is_no_key(gate: Box, auth: object) -> None:
    assert "error" in gate.call("soft_reload", headers=FORWARDED, auth=auth)


def test_an_event_named_connect_does_not_make_one_somebody_else(gate: Box) -> None:
    made_up = {"asgi.scope": {"type": "http", "client": ["127.0.0.1", 1], "headers": []}}

    async def story(robot: Any) -> list[Any]:
        answers = []
        for name in ("connect", "disconnect", "connect"):
            answers.append(await robot.call(name, made_up, timeout=5))
            answers.append(await robot.call("soft_reload", timeout=5))
        return answers

    assert all("error" in answer for answer in gate.talk(story, headers=FORWARDED))


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"host": "evil.example"}],
    ids=["a page of another site", "a name that points here"],
)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_other_sites_get_no_socket(gate: Box, headers: dict[str, str], transport: str) -> None:
    if transport == "polling":
        for method in ("GET", "POST"):
            url = "/ws/socket.io/?EIO=4&transport=polling"
            assert gate.http.request(method, url, headers=headers).status_code == 403
        return
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==",
    }
    refused = gate.http.get("/ws/socket.io/?EIO=4&transport=websocket", headers={**upgrade, **headers})
    assert refused.status_code == 403


def test_who_is_turned_away_can_be_seen(gate: Box) -> None:
    robot = ("203.0.113.99", 40000)
    for _ in range(3):
        gate.ask("POST", "/upload", client=robot, files={"files": CAT.jpeg})

    [entry] = [each for each in gate.http.get("/api/v1/refusals").json() if each["address"] == "203.0.113.99"]

    assert (entry["count"], entry["reason"]) == (3, "network")
    assert entry["network"] == "203.0.113.0/24", "what one would trust to let the robot in"
    assert entry["first"] <= entry["last"]
    assert "trusted_networks" in entry["sentence"]
    families = {each.name: each for each in text_string_to_metric_families(gate.http.get("/metrics").text)}
    counted = {sample.labels["reason"]: sample.value for sample in families["detector_access_refused"].samples}
    assert counted["network"] >= 3


@pytest.fixture
def preflight() -> Iterator[dict[str, str]]:
    """What a browser asks before a page of another site may post something else than a form."""
    yield {
        "origin": "https://evil.example",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type",
    }


def test_a_browser_s_question_whether_it_may_is_answered_no(gate: Box, preflight: dict[str, str]) -> None:
    for _, path in routes(gate):
        answer = gate.ask("OPTIONS", path, headers=preflight)
        assert answer.status_code == 403
        assert not any(name.startswith("access-control-allow") for name in answer.headers)


def test_answers_carry_no_permission_for_other_sites(gate: Box) -> None:
    answer: httpx.Response = gate.http.get("/about")

    assert not any(name.startswith("access-control") for name in answer.headers)
