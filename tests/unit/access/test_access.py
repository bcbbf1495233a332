"""Who gets in: robots on the machine, in trusted networks and with keys; and who does not, however it is dressed up."""

from __future__ import annotations

import asyncio
import json
import logging
import string
from collections.abc import Mapping, MutableMapping, Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.staticfiles import StaticFiles
from hypothesis import given, settings
from hypothesis import strategies as st

from access import (
    NOBODY,
    Access,
    AccessMiddleware,
    AccessPolicy,
    AccessTable,
    Caller,
    Evidence,
    Kind,
    Reason,
    Refusal,
    Refusals,
    Right,
    SocketCallers,
    caller_in,
    effective_autoupload,
    network_of,
    own_names,
    parse_host,
    walk,
)
from appliance.device_table import DEVICE_TABLE, WAY_IN
from models.errors import AccessDenied, SettingsInvalid
from models.wire.node_status import Autoupload

KEY = "the key of the forklift"
STRANGER = "203.0.113.9"
LAN = "192.168.7.20"

PROTOCOL_ROUTES = [
    ("POST", "/detect"),
    ("POST", "/upload"),
    ("GET", "/about"),
    ("GET", "/model_version"),
    ("PUT", "/model_version"),
    ("GET", "/outbox_mode"),
    ("PUT", "/outbox_mode"),
    ("GET", "/operation_mode"),
    ("PUT", "/operation_mode"),
    ("PUT", "/debug_logging"),
    ("PUT", "/socketio"),
    ("POST", "/reset"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/ws/socket.io/"),
    ("POST", "/ws/socket.io/"),
    ("WEBSOCKET", "/ws/socket.io/"),
]
PROTOCOL_EVENTS = [
    "detect",
    "batch_detect",
    "upload",
    "info",
    "about",
    "get_model_version",
    "set_model_version_mode",
    "get_outbox_mode",
    "set_outbox_mode",
    "soft_reload",
]
OUR_EVENTS = ["get_update", "get_update_lock", "set_update_lock"]
OUR_ROUTES = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("DELETE", "/api/v1/models/{version}"),
    ("GET", "/"),
    ("GET", "/live"),
    ("GET", "/models"),
    ("GET", "/outbox"),
    ("GET", "/system"),
    ("GET", "/settings"),
    ("GET", "/_nicegui/3.18.0/static/nicegui.js"),
    ("WEBSOCKET", "/_nicegui_ws/socket.io/"),
]


def keys(text: str) -> str | None:
    return "forklift" if text == KEY else None


def policy(**given: Any) -> AccessPolicy:
    networks = {
        name: [ip_network(text) for text in given.pop(name, default)]
        for name, default in (("trusted_networks", ["192.168.7.0/24", "fd00::/8"]), ("trusted_proxies", ["10.0.0.0/8"]))
    }
    known = {"keys": keys, "own_names": own_names("box"), **networks}
    return AccessPolicy(**{"table": DEVICE_TABLE, "way_in": WAY_IN, **known, **given})


def scope(
    what: str = "POST /upload",
    *,
    client: str | None = "127.0.0.1",
    host: str | None = "localhost:8004",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    extensions: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A request as a server hands it on: `METHOD /path`, `WEBSOCKET` as method meaning a handshake."""
    method, path = what.split(" ")
    pairs = [] if host is None else [("host", host)]
    pairs += headers.items() if isinstance(headers, Mapping) else headers
    found: dict[str, Any] = {
        "type": "websocket" if method == "WEBSOCKET" else "http",
        "path": path,
        "client": None if client is None else (client, 4711),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "extensions": extensions,
    }
    return found if method == "WEBSOCKET" else {**found, "method": method}


def verdict(of: AccessPolicy, request: Mapping[str, Any]) -> str:
    """`ok` or the reason of the refusal."""
    _, refusal = of.judge(request)
    return "ok" if refusal is None else refusal.reason.value


# Which page, which name


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("127.0.0.1:8004", "ok", id="address"),
        pytest.param("192.168.7.5", "ok", id="address-without-port"),
        pytest.param("[::1]:8004", "ok", id="ipv6"),
        pytest.param("[fe80::1]", "ok", id="ipv6-without-port"),
        pytest.param("localhost:8004", "ok", id="localhost"),
        pytest.param("LocalHost:1", "ok", id="any-case"),
        pytest.param("box", "ok", id="own-name"),
        pytest.param("BOX.local:8004", "ok", id="mdns"),
        pytest.param("box.local.:8004", "ok", id="final-dot"),
        pytest.param("detector.example.org", "ok", id="allowed"),
        pytest.param("detector.example.org:443", "ok", id="allowed-any-port"),
        pytest.param("robot.example.org:8004", "ok", id="allowed-one-port"),
        pytest.param("robot.example.org:8005", "host", id="allowed-other-port"),
        pytest.param("rebound.evil.example:8004", "host", id="dns-rebinding"),
        pytest.param("127.0.0.1.evil.example", "host", id="looks-like-an-address"),
        pytest.param("localhost.evil.example", "host", id="looks-like-localhost"),
        pytest.param("sub.box.local", "host", id="below-own-name"),
        pytest.param("testserver", "host", id="name-of-test-clients"),
        pytest.param("2130706433", "host", id="number-for-127.0.0.1"),
        pytest.param("0x7f.1", "host", id="short-form"),
        pytest.param(None, "host", id="missing"),
        pytest.param("", "host", id="empty"),
        pytest.param("localhost:99999", "host", id="impossible-port"),
        pytest.param("localhost:80:80", "host", id="two-ports"),
        pytest.param("::1", "host", id="ipv6-without-brackets"),
        pytest.param("[127.0.0.1]", "host", id="ipv4-in-brackets"),
        pytest.param("[::1", "host", id="half-a-bracket"),
        pytest.param("evil@localhost", "host", id="user"),
        pytest.param("localhost/evil", "host", id="path"),
        pytest.param("localhost, evil.example", "host", id="list"),
        pytest.param("b\xf6x", "host", id="not-ascii"),
        pytest.param("a" * 5000, "host", id="endless"),
    ],
)
@pytest.mark.parametrize("what", ["GET /healthz", "POST /detect", "PUT /outbox_mode", "WEBSOCKET /ws/socket.io/"])
def test_the_box_answers_to_its_own_names_alone(host: str | None, expected: str, what: str) -> None:
    of = policy(allowed_hosts=["Detector.example.org", "robot.example.org:8004", "192.168.7.5", "fe80::1"])
    assert verdict(of, scope(what, host=host)) == expected


def test_two_hosts_are_none() -> None:
    request = scope("GET /about", host=None, headers=[("host", "localhost"), ("host", "localhost")])
    assert verdict(policy(), request) == "host"


def test_a_host_that_cannot_be_one_is_told_at_start() -> None:
    with pytest.raises(SettingsInvalid, match=r"'http://box/' is no host name; allowed_hosts takes"):
        policy(allowed_hosts=["http://box/"])


@pytest.mark.parametrize("name", ["", "  ", "b\xf6x", "a b"])
def test_an_odd_host_name_of_the_machine_is_no_obstacle(name: str) -> None:
    assert verdict(policy(own_names=own_names(name)), scope()) == "ok"


def test_own_names_are_as_the_machine_calls_itself_short_and_over_mdns() -> None:
    assert own_names("Box-7.plant.example.") == {"box-7.plant.example", "box-7", "box-7.local"}


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        pytest.param("localhost:8004", "http://localhost:8004", "ok", id="own-page"),
        pytest.param("box", "http://box", "ok", id="port-80"),
        pytest.param("box:80", "http://BOX", "ok", id="port-80-spelled-out"),
        pytest.param("box", "https://box", "ok", id="tls-ends-at-a-proxy"),
        pytest.param("box:443", "https://box", "ok", id="port-443-spelled-out"),
        pytest.param("[::1]:8004", "http://[0:0::1]:8004", "ok", id="ipv6-spelled-otherwise"),
        pytest.param("localhost:8004", "https://evil.example", "origin", id="another-site"),
        pytest.param("127.0.0.1:8004", "http://127.0.0.1:9999", "origin", id="another-server-of-this-machine"),
        pytest.param("localhost:8004", "http://127.0.0.1:8004", "origin", id="another-name-for-it"),
        pytest.param("localhost:8004", "http://localhost", "origin", id="another-port"),
        pytest.param("box", "https://box:80", "origin", id="wrong-port-for-tls"),
        pytest.param("localhost:8004", "null", "origin", id="null"),
        pytest.param("localhost:8004", "", "origin", id="empty"),
        pytest.param("localhost:8004", "localhost:8004", "origin", id="no-scheme"),
        pytest.param("localhost:8004", "file://localhost:8004", "origin", id="file"),
        pytest.param("localhost:8004", "chrome-extension://localhost:8004", "origin", id="extension"),
        pytest.param("localhost:8004", "http://localhost:8004/", "origin", id="path"),
        pytest.param("localhost:8004", "http://localhost:8004 https://evil.example", "origin", id="list"),
    ],
)
@pytest.mark.parametrize("what", ["GET /about", "POST /detect", "PUT /model_version", "WEBSOCKET /ws/socket.io/"])
def test_a_page_of_another_origin_is_turned_away_on_loopback_too(
    host: str, origin: str, expected: str, what: str
) -> None:
    assert verdict(policy(), scope(what, host=host, headers={"origin": origin})) == expected


def test_two_origins_are_none_of_ours() -> None:
    own = ("origin", "http://localhost:8004")
    assert verdict(policy(), scope(headers=[own, own])) == "origin"


@pytest.mark.parametrize(
    ("what", "site", "expected"),
    [
        ("POST /detect", "cross-site", "origin"),
        ("POST /detect", "same-site", "origin"),
        ("WEBSOCKET /ws/socket.io/", "cross-site", "origin"),
        ("POST /detect", "same-origin", "ok"),
        ("POST /detect", "none", "ok"),
        ("GET /about", "cross-site", "ok"),  # somebody follows a link
    ],
)
def test_what_the_browser_says_of_the_page_is_the_second_line(what: str, site: str, expected: str) -> None:
    assert verdict(policy(), scope(what, headers={"sec-fetch-site": site})) == expected


def test_nobody_is_told_that_pages_of_others_may_come_in() -> None:
    preflight = {"origin": "http://localhost:8004", "access-control-request-method": "PUT"}
    assert verdict(policy(), scope("OPTIONS /outbox_mode", headers=preflight)) == "preflight"


# Who asks


@pytest.mark.parametrize(
    ("client", "headers", "kind", "address"),
    [
        pytest.param("127.0.0.1", {}, Kind.LOOPBACK, "127.0.0.1", id="this-machine"),
        pytest.param("127.8.9.10", {}, Kind.LOOPBACK, "127.8.9.10", id="all-of-127/8"),
        pytest.param("::1", {}, Kind.LOOPBACK, "::1", id="ipv6-loopback"),
        pytest.param("::ffff:127.0.0.1", {}, Kind.LOOPBACK, "127.0.0.1", id="mapped-loopback"),
        pytest.param(LAN, {}, Kind.TRUSTED, LAN, id="trusted-network"),
        pytest.param(f"::ffff:{LAN}", {}, Kind.TRUSTED, LAN, id="trusted-network-mapped"),
        pytest.param("fd12::5", {}, Kind.TRUSTED, "fd12::5", id="trusted-ipv6-network"),
        pytest.param("192.168.8.20", {}, Kind.STRANGER, "192.168.8.20", id="network-beside"),
        pytest.param("fe80::1%eth0", {}, Kind.STRANGER, "fe80::1", id="link-local-with-card"),
        pytest.param("::127.0.0.1", {}, Kind.STRANGER, "::7f00:1", id="not-the-mapped-form"),
        pytest.param("10.0.0.1", {}, Kind.STRANGER, "10.0.0.1", id="the-proxy-itself"),
        pytest.param(None, {}, Kind.STRANGER, "", id="unix-socket"),
        pytest.param("", {}, Kind.STRANGER, "", id="empty-address"),
        pytest.param("testclient", {}, Kind.STRANGER, "", id="no-address"),
        # forged by whoever is directly connected
        pytest.param(STRANGER, {"x-forwarded-for": "127.0.0.1"}, Kind.STRANGER, STRANGER, id="forged"),
        pytest.param(STRANGER, {"forwarded": "for=127.0.0.1"}, Kind.STRANGER, STRANGER, id="forged-rfc7239"),
        pytest.param(LAN, {"x-forwarded-for": LAN}, Kind.STRANGER, LAN, id="unknown-proxy-in-a-trusted-network"),
        pytest.param("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, Kind.STRANGER, "127.0.0.1", id="local-proxy"),
        pytest.param("127.0.0.1", {"x-forwarded-proto": "https"}, Kind.STRANGER, "127.0.0.1", id="local-proxy-proto"),
        pytest.param("127.0.0.1", {"x-forwarded-foo": ""}, Kind.STRANGER, "127.0.0.1", id="local-proxy-whatever"),
        pytest.param("127.0.0.1", {"x-real-ip": "127.0.0.1"}, Kind.STRANGER, "127.0.0.1", id="local-proxy-real-ip"),
        pytest.param("::1", {"forwarded": ""}, Kind.STRANGER, "::1", id="local-proxy-empty"),
        # behind a trusted proxy
        pytest.param("10.0.0.1", {"x-forwarded-for": LAN}, Kind.TRUSTED, LAN, id="proxied"),
        pytest.param("10.0.0.1", {"x-forwarded-for": f" {LAN}:4711 "}, Kind.TRUSTED, LAN, id="proxied-port"),
        pytest.param("10.0.0.1", {"x-forwarded-for": "[fd12::5]:4711"}, Kind.TRUSTED, "fd12::5", id="proxied-ipv6"),
        pytest.param("10.0.0.1", {"x-forwarded-for": "fd12::5"}, Kind.TRUSTED, "fd12::5", id="proxied-bare-ipv6"),
        pytest.param("10.0.0.1", {"x-forwarded-for": STRANGER}, Kind.STRANGER, STRANGER, id="proxied-stranger"),
        pytest.param(
            "10.0.0.1", {"x-forwarded-for": f"{LAN}, {STRANGER}"}, Kind.STRANGER, STRANGER, id="proxied-forged-left"
        ),
        pytest.param(
            "10.0.0.1", {"x-forwarded-for": f"{STRANGER}, {LAN}, 10.1.1.1"}, Kind.TRUSTED, LAN, id="two-proxies"
        ),
        pytest.param(
            "10.0.0.1", {"x-forwarded-for": f"junk, {LAN}, 10.1.1.1"}, Kind.TRUSTED, LAN, id="junk-beyond-the-caller"
        ),
        pytest.param("10.0.0.1", {"x-forwarded-for": "10.1.1.1"}, Kind.STRANGER, "10.1.1.1", id="a-proxy-asks-itself"),
        pytest.param("10.0.0.1", {"x-forwarded-for": "127.0.0.1"}, Kind.STRANGER, "127.0.0.1", id="never-loopback"),
        pytest.param("10.0.0.1", {"x-forwarded-for": "::1"}, Kind.STRANGER, "::1", id="never-loopback-ipv6"),
        pytest.param("10.0.0.1", {"forwarded": f"for={LAN};proto=https"}, Kind.TRUSTED, LAN, id="rfc7239"),
        pytest.param("10.0.0.1", {"forwarded": f'proto=http;For="{LAN}:47"'}, Kind.TRUSTED, LAN, id="rfc7239-quoted"),
        pytest.param(
            "10.0.0.1", {"forwarded": 'for=1.2.3.4, for="[fd12::5]:4711"'}, Kind.TRUSTED, "fd12::5", id="rfc7239-ipv6"
        ),
        pytest.param(
            "10.0.0.1", {"forwarded": f"for={LAN}, for=10.9.9.9;by=10.0.0.1"}, Kind.TRUSTED, LAN, id="rfc7239-chain"
        ),
        pytest.param(
            "10.0.0.1", {"x-forwarded-for": LAN, "forwarded": f"for={LAN}"}, Kind.TRUSTED, LAN, id="both-agree"
        ),
    ],
)
def test_who_asks(client: str | None, headers: dict[str, str], kind: Kind, address: str) -> None:
    caller = policy().caller(Evidence.of(scope(client=client, headers=headers)))
    assert (caller.kind, caller.address) == (kind, address)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x-forwarded-for": ""}, id="empty"),
        pytest.param({"x-forwarded-for": "unknown"}, id="unknown"),
        pytest.param({"x-forwarded-for": f"{LAN},"}, id="comma-at-the-end"),
        pytest.param({"x-forwarded-for": f"{LAN};10.1.1.1"}, id="semicolon"),
        pytest.param({"x-forwarded-for": "192.168.7.20.1"}, id="five-parts"),
        pytest.param({"x-forwarded-for": "\xb9\xb2\xb3"}, id="not-ascii"),
        pytest.param({"x-forwarded-for": ", ".join([LAN, *["10.1.1.1"] * 16])}, id="seventeen-proxies"),
        pytest.param({"x-forwarded-proto": "https"}, id="nobody-named"),
        pytest.param({"x-real-ip": LAN}, id="real-ip-alone"),
        pytest.param({"x-forwarded-for": LAN, "forwarded": "for=192.168.7.21"}, id="two-voices"),
        pytest.param({"x-forwarded-for": LAN, "forwarded": "nonsense"}, id="one-voice-and-nonsense"),
        pytest.param({"forwarded": "for=_hidden"}, id="rfc7239-hidden"),
        pytest.param({"forwarded": "proto=https"}, id="rfc7239-nobody-named"),
        pytest.param({"forwarded": f"for={LAN}, proto=https"}, id="rfc7239-last-names-nobody"),
        pytest.param({"forwarded": f'for="{LAN}'}, id="rfc7239-open-quote"),
        pytest.param({"forwarded": f"for={LAN} for={LAN}"}, id="rfc7239-no-separator"),
        pytest.param({"forwarded": ", ".join([f"for={LAN}"] * 200)}, id="rfc7239-endless"),
        pytest.param({"x-forwarded-for": "fd12::5%" + "x" * 200}, id="endless-card"),
    ],
)
def test_a_proxy_that_does_not_say_who_asks_brings_strangers(headers: dict[str, str]) -> None:
    caller = policy().caller(Evidence.of(scope(client="10.0.0.1", headers=headers)))
    assert caller == Caller(Kind.STRANGER, "10.0.0.1", reason=Reason.FORWARDING)


def test_forwarding_headers_in_several_lines_are_one_chain() -> None:
    lines = [("x-forwarded-for", LAN), ("x-forwarded-for", STRANGER), ("x-forwarded-for", "10.1.1.1")]
    caller = policy().caller(Evidence.of(scope(client="10.0.0.1", headers=lines)))
    assert caller == Caller(Kind.STRANGER, STRANGER, reason=Reason.NETWORK)


@pytest.mark.parametrize(
    ("headers", "auth", "expected"),
    [
        pytest.param({"authorization": f"Bearer {KEY}"}, None, "ok", id="bearer"),
        pytest.param({"authorization": f"bEARER   {KEY} "}, None, "ok", id="bearer-any-case"),
        pytest.param({"x-api-key": KEY}, None, "ok", id="x-api-key"),
        pytest.param({}, {"api_key": KEY}, "ok", id="socketio"),
        pytest.param({"authorization": "Bearer nonsense", "x-api-key": KEY}, None, "ok", id="one-of-two"),
        pytest.param({"x-api-key": "nonsense"}, {"api_key": KEY}, "ok", id="old-header-new-key-over-socketio"),
        pytest.param({"authorization": f"Basic {KEY}"}, None, "network", id="basic"),
        pytest.param({"authorization": KEY}, None, "network", id="no-scheme"),
        pytest.param({}, {"token": KEY}, "network", id="socketio-other-word"),
        pytest.param({}, {"api_key": [KEY]}, "network", id="socketio-no-text"),
        pytest.param({}, KEY, "network", id="socketio-no-object"),
        pytest.param({"x-api-key": KEY.upper()}, None, "key", id="wrong-case"),
        pytest.param({"x-api-key": ""}, None, "key", id="empty"),
        pytest.param({"x-api-key": "\xff\xfe"}, None, "key", id="not-ascii"),
        pytest.param({}, {"api_key": "\ud800"}, "key", id="socketio-no-unicode"),
    ],
)
def test_a_key_opens_what_is_closed_to_strangers(headers: dict[str, str], auth: object, expected: str) -> None:
    caller = policy().caller(Evidence.of(scope(client=STRANGER, headers=headers), auth))
    if expected == "ok":
        assert caller == Caller(Kind.KEY, STRANGER, key_name="forklift")
    else:
        assert caller.is_stranger
        assert caller.reason == Reason(expected)


def test_a_key_counts_behind_a_proxy_that_nobody_trusts() -> None:
    request = scope(client="127.0.0.1", headers={"x-forwarded-for": STRANGER, "x-api-key": KEY})
    assert policy().caller(Evidence.of(request)) == Caller(Kind.KEY, "127.0.0.1", key_name="forklift")


def test_keys_that_cannot_be_read_let_nobody_in_and_say_so() -> None:
    def unreadable(text: str) -> str | None:
        raise SettingsInvalid("the file is broken")

    _, refusal = policy(keys=unreadable).judge(scope(client=STRANGER, headers={"x-api-key": KEY}))
    assert refusal is not None
    assert (refusal.reason, refusal.status) == (Reason.KEYS_UNREADABLE, 401)
    assert "cannot be read, so none of them counts" in refusal.sentence


HEADER_NAMES = ["host", "origin", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "authorization"]
HEADER_NAMES += ["x-api-key", "sec-fetch-site", "access-control-request-method", "x-forwarded-", "cookie"]
FRAGMENTS = [
    "127.0.0.1",
    "::1",
    LAN,
    "10.0.0.1",
    "for=",
    '"',
    ",",
    ";",
    "[",
    "]",
    ":8004",
    "localhost",
    "Bearer ",
    "\\",
]
VALUES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=6).map("".join)
HEADERS = st.lists(
    st.tuples(st.sampled_from(HEADER_NAMES).map(str.encode), VALUES.map(str.encode) | st.binary(max_size=20)),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(
    client=st.sampled_from([STRANGER, "127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", LAN, None]) | st.text(max_size=10),
    headers=HEADERS,
    what=st.sampled_from(["POST /upload", "GET /about", "OPTIONS /detect", "WEBSOCKET /ws/socket.io/", "X /%2e%2e/"]),
    auth=st.none() | st.dictionaries(st.just("api_key"), st.text(max_size=5) | st.integers()),
)
def test_whatever_the_headers_are_there_is_an_answer_and_a_stranger_never_becomes_this_machine(
    client: str | None, headers: list[tuple[bytes, bytes]], what: str, auth: object
) -> None:
    of = policy()
    request = {**scope(what, client=client), "headers": headers}
    caller, refusal = of.judge(request)
    forwarded = any(name.startswith((b"x-forwarded-", b"forwarded", b"x-real-ip")) for name, _ in headers)
    assert (caller.kind is Kind.LOOPBACK) == (client in ("127.0.0.1", "::ffff:127.0.0.1") and not forwarded)
    if client == STRANGER:
        assert caller.is_stranger
    if client in (STRANGER, None) and what == "POST /upload":
        assert refusal is not None
    assert of.caller(Evidence.of(request, auth)).kind is caller.kind
    json.dumps(None if refusal is None else refusal.sentence)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=string.printable, max_size=300))
def test_a_host_is_read_or_is_none(text: str) -> None:
    host = parse_host(text)
    assert host is None or (host.name and host.name == host.name.lower() and len(host.name) <= len(text) + 39)


# Who may do what


def test_every_route_and_event_of_the_protocol_stands_in_the_table() -> None:
    assert DEVICE_TABLE.unlisted([*PROTOCOL_ROUTES, *OUR_ROUTES]) == []
    assert set(DEVICE_TABLE.events) == {*PROTOCOL_EVENTS, *OUR_EVENTS}


OPEN_ROUTES = ["/healthz", "/readyz", "/docs", "/openapi.json", "/ws/socket.io/"]
STATUS_ROUTES = ["/about", "/model_version", "/outbox_mode", "/operation_mode", "/metrics"]


@pytest.mark.parametrize(("method", "path"), [*PROTOCOL_ROUTES, *OUR_ROUTES])
@pytest.mark.parametrize("open_detection", [True, False])
def test_what_a_stranger_gets(method: str, path: str, open_detection: bool) -> None:
    of = policy(open_detection=open_detection)
    open_to_all = path in OPEN_ROUTES or (
        open_detection and (path == "/detect" or (method == "GET" and path in STATUS_ROUTES))
    )
    assert verdict(of, scope(f"{method} {path}", client=STRANGER)) == ("ok" if open_to_all else "network")


@pytest.mark.parametrize(("method", "path"), [*PROTOCOL_ROUTES, *OUR_ROUTES])
@pytest.mark.parametrize(("client", "headers"), [("::1", {}), (LAN, {}), (STRANGER, {"x-api-key": KEY})])
def test_who_is_known_gets_everything(method: str, path: str, client: str, headers: dict[str, str]) -> None:
    of = policy(open_detection=False)
    assert verdict(of, scope(f"{method} {path}", client=client, headers=headers)) == "ok"


@pytest.mark.parametrize("event", PROTOCOL_EVENTS)
@pytest.mark.parametrize("open_detection", [True, False])
def test_what_a_stranger_may_send_over_socketio(event: str, open_detection: bool) -> None:
    of = policy(open_detection=open_detection)
    closed = event == "upload" or event.startswith("set_") or event == "soft_reload"
    assert of.allows(NOBODY, event) == (open_detection and not closed)
    assert of.allows(Caller(Kind.TRUSTED), event)


@pytest.mark.parametrize(
    "what",
    [
        "GET /outbox/2026-01-01/image.jpg",
        "GET /not/in/the/table",
        "DELETE /about",
        "POST /healthz",
        "GET /about/",
        "GET //about",
        "GET /docs/../outbox",
        "GET /static-offline-docs-and-more",
        "GET /wsx",
        "GET /_nicegui/auto/static/abc/picture.jpg",
        "get /about",
        "OPTIONS /detect",
        "WEBSOCKET /_nicegui_ws/socket.io/",
        "WEBSOCKET /detect",
    ],
)
def test_what_the_table_does_not_open_is_closed(what: str) -> None:
    assert verdict(policy(), scope(what, client=STRANGER)) == "network"


def test_head_asks_for_what_get_asks() -> None:
    assert verdict(policy(), scope("HEAD /healthz", client=STRANGER)) == "ok"
    assert verdict(policy(), scope("HEAD /outbox", client=STRANGER)) == "network"


def test_a_table_knows_parts_subtrees_and_what_is_spelled_out_first() -> None:
    table = AccessTable(
        routes={
            "GET /{organization}/projects/{project}/secrets/*": Right.CHANGE_OR_SEE,
            "GET /{organization}/projects/*": Right.OPEN,
            "* /{organization}/projects/*": Right.DETECT,
            "GET /a/projects/b/secrets/none": Right.OPEN,
        },
        events={},
    )
    rights = {
        "GET /a/projects": Right.OPEN,
        "GET /a/projects/b": Right.OPEN,
        "PUT /a/projects/b": Right.DETECT,
        "GET /a/projects/b/secrets": Right.CHANGE_OR_SEE,
        "GET /a/projects/b/secrets/c/d": Right.CHANGE_OR_SEE,
        "GET /a/projects/b/secrets/none": Right.OPEN,
        "GET /a/projectsx": Right.CHANGE_OR_SEE,
        "GET /a/b/projects/c": Right.CHANGE_OR_SEE,
        "GET /projects": Right.CHANGE_OR_SEE,
    }
    assert {what: table.right_to(*what.split(" ")) for what in rights} == rights


def test_the_routes_of_a_real_application_can_be_compared_with_the_table(tmp_path: Any) -> None:
    async def nothing() -> None: ...

    async def socket(websocket: WebSocket) -> None: ...

    app = FastAPI()
    app.get("/about")(nothing)
    router = APIRouter()
    router.get("/models/{version}")(nothing)
    router.delete("/secret/{path:path}")(nothing)
    router.websocket("/stream")(socket)
    app.include_router(router, prefix="/api/v1")
    app.include_router(router, prefix="/forgotten")
    app.mount("/static-offline-docs", StaticFiles(directory=tmp_path))
    app.mount("/photographs", StaticFiles(directory=tmp_path))
    inner = FastAPI(openapi_url=None)
    inner.put("/inner")(nothing)
    app.mount("", inner)

    found = list(walk(app.routes))

    assert ("GET", "/about") in found
    assert ("GET", "/openapi.json") in found
    assert ("WEBSOCKET", "/api/v1/stream") in found
    assert ("DELETE", "/api/v1/secret/{path:path}") in found
    assert ("HEAD", "/openapi.json") not in found
    assert ("*", "/static-offline-docs/{path:path}") in found
    assert DEVICE_TABLE.unlisted(found) == [
        "GET /forgotten/models/{version}",
        "DELETE /forgotten/secret/{path:path}",
        "WEBSOCKET /forgotten/stream",
        "* /photographs/{path:path}",
        "PUT /inner",
    ]


@pytest.mark.parametrize(
    ("kind", "requested", "expected"),
    [
        (Kind.LOOPBACK, None, "filtered"),
        (Kind.TRUSTED, "all", "all"),
        (Kind.KEY, "disabled", "disabled"),
        (Kind.STRANGER, None, "disabled"),
        (Kind.STRANGER, "all", "disabled"),
    ],
)
def test_strangers_do_not_fill_the_outbox(kind: Kind, requested: Autoupload | None, expected: Autoupload) -> None:
    assert effective_autoupload(Caller(kind), requested) == expected


# The middleware


class Server:
    """The middleware with an application behind it that notes what reaches it."""

    def __init__(self, **given: Any) -> None:
        self.now = 1000.0
        self.access = Access(policy(**given), Refusals(lambda: self.now))
        self.reached: list[MutableMapping[str, Any]] = []

    def ask(self, request: dict[str, Any]) -> list[MutableMapping[str, Any]]:
        sent: list[MutableMapping[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.reached.append(scope)

        async def receive() -> MutableMapping[str, Any]:
            raise AssertionError("the middleware has no business with the body")

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(AccessMiddleware(app, self.access)(request, receive, send))
        return sent


def test_a_handler_is_told_who_asks() -> None:
    server = Server()
    assert server.ask(scope("POST /detect", client=STRANGER)) == []
    assert caller_in(server.reached[0]) == Caller(Kind.STRANGER, STRANGER, reason=Reason.NETWORK)
    server.ask(scope("POST /detect"))
    assert caller_in(server.reached[1]).kind is Kind.LOOPBACK


def test_without_the_middleware_everybody_is_a_stranger() -> None:
    assert caller_in(scope()) == NOBODY
    assert caller_in({**scope(), "caller": "loopback"}) == NOBODY


def test_a_stranger_who_wants_pictures_is_told_the_ways_in() -> None:
    server = Server()
    start, body = server.ask(scope("GET /outbox", client="192.168.9.4"))
    assert server.reached == []
    assert start["status"] == 401
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    detail = json.loads(body["body"])["detail"]
    assert "192.168.9.4 is in no trusted network; its own is 192.168.9.0/24 (setting trusted_networks)." in detail
    assert "`appliance keys create NAME` makes one" in detail
    assert "auth={'api_key': KEY}" in detail


def test_a_page_of_another_site_is_forbidden_whatever_it_knows() -> None:
    server = Server()
    headers = {"origin": "https://evil.example", "x-api-key": KEY}
    start, body = server.ask(scope("POST /detect", headers=headers))
    assert server.reached == []
    assert start["status"] == 403
    assert [name for name, _ in start["headers"]] == [b"content-type", b"content-length"]
    assert "A page of another origin may not use the box at 'localhost:8004'" in json.loads(body["body"])["detail"]


def test_a_websocket_is_refused_before_it_opens_with_the_sentence_where_the_server_can() -> None:
    server = Server()
    request = "WEBSOCKET /ws/socket.io/"
    evil = {"origin": "https://evil.example"}
    start, body = server.ask(scope(request, headers=evil, extensions={"websocket.http.response": {}}))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert "another origin" in json.loads(body["body"])["detail"]
    (close,) = server.ask(scope(request, headers=evil))
    assert (close["type"], close["code"]) == ("websocket.close", 1008)
    assert server.reached == []


def test_start_and_end_of_the_server_pass() -> None:
    server = Server()
    server.ask({"type": "lifespan"})
    assert server.reached == [{"type": "lifespan"}]


def test_a_refusal_is_logged_once_and_counted_always(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            server.ask(scope("PUT /outbox_mode\r\nforged", client=STRANGER))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("Refused 'PUT /outbox_mode\\r\\nforged' from 203.0.113.9:")
    assert server.access.refusals.totals == {Reason.NETWORK: 3}


# Socket.IO


def test_a_robot_that_is_refused_is_seen_and_let_in_without_connecting_again() -> None:
    server = Server()
    sockets = SocketCallers(server.access)
    environ = {"asgi.scope": scope("GET /ws/socket.io/", client="192.168.9.4"), "REMOTE_ADDR": "127.0.0.1"}
    assert sockets.connected("sid", environ).is_stranger
    assert sockets.demand("sid", "detect").is_stranger
    with pytest.raises(AccessDenied, match=r"192\.168\.9\.4 is in no trusted network"):
        sockets.demand("sid", "upload")
    (refused,) = server.access.refusals.snapshot()
    assert (refused.address, refused.network, refused.count) == ("192.168.9.4", "192.168.9.0/24", 1)

    assert refused.network is not None
    server.access.policy = policy(trusted_networks=[refused.network])

    assert sockets.demand("sid", "upload").kind is Kind.TRUSTED


def test_a_key_that_is_revoked_ends_to_count_on_open_connections() -> None:
    known = {KEY: "forklift"}
    server = Server(keys=known.get)
    sockets = SocketCallers(server.access)
    sockets.connected("sid", {"asgi.scope": scope("GET /ws/socket.io/", client=STRANGER)}, {"api_key": KEY})
    assert sockets.demand("sid", "set_outbox_mode") == Caller(Kind.KEY, STRANGER, key_name="forklift")
    known.clear()
    with pytest.raises(AccessDenied, match="it is mistyped or was revoked"):
        sockets.demand("sid", "set_outbox_mode")


def test_an_unknown_connection_is_a_strangers() -> None:
    sockets = SocketCallers(Server().access)
    sockets.connected("sid", {"asgi.scope": scope()})
    assert sockets.caller("sid").kind is Kind.LOOPBACK
    sockets.disconnected("sid")
    sockets.disconnected("sid")
    assert sockets.caller("sid") == NOBODY
    with pytest.raises(AccessDenied, match="No address is known of who asks"):
        sockets.demand("sid", "an event that nobody has heard of")


# Refusals


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.9.4", "192.168.9.0/24"),
        ("169.254.1.2", "169.254.1.0/24"),
        ("8.8.8.8", "8.8.8.8/32"),
        ("fd12:3456::5", "fd12:3456::/64"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::/64"),
        ("", None),
        ("nobody", None),
    ],
)
def test_the_network_that_one_would_trust(address: str, expected: str | None) -> None:
    assert network_of(address) == expected


def test_refusals_are_told_apart_by_address_and_reason_the_latest_first() -> None:
    server = Server()
    asked = [("10.2.0.1", "box"), (LAN, "evil.example"), ("10.2.0.1", "evil.example"), (LAN, "evil.example")]
    for server.now, (client, host) in enumerate(asked):
        server.ask(scope("PUT /outbox_mode", client=client, host=host))
    first, second, third = server.access.refusals.snapshot()
    assert (first.address, first.reason, first.count, first.first, first.last) == (LAN, Reason.HOST, 2, 1.0, 3.0)
    assert first.network is None, "to trust the network would not help against a wrong name"
    assert "'evil.example'" in first.sentence
    assert (second.address, second.reason, second.network) == ("10.2.0.1", Reason.HOST, None)
    assert (third.address, third.reason, third.network) == ("10.2.0.1", Reason.NETWORK, "10.2.0.0/24")
    assert server.access.refusals.totals == {Reason.HOST: 3, Reason.NETWORK: 1}


def test_what_is_kept_of_refusals_is_bounded_and_what_goes_is_counted() -> None:
    refusals = Refusals(lambda: 0.0, limit=2)
    refusal = Refusal(Reason.NETWORK, "No.")
    assert refusals.note("10.2.0.1", refusal)
    assert refusals.note("10.2.0.2", refusal)
    assert not refusals.note("10.2.0.1", refusal)
    assert refusals.note("10.2.0.3", refusal)
    assert [entry.address for entry in refusals.snapshot()] == ["10.2.0.3", "10.2.0.1"]
    assert refusals.forgotten == 1
    assert refusals.totals == {Reason.NETWORK: 4}


def test_one_machine_with_many_ipv6_addresses_pushes_nobody_out() -> None:
    refusals = Refusals(lambda: 0.0, limit=2)
    refusal = Refusal(Reason.NETWORK, "No.")
    refusals.note("192.168.9.4", refusal)
    for number in range(1, 100):
        refusals.note(f"2001:db8::{number:x}", refusal)
    assert [(entry.address, entry.count) for entry in refusals.snapshot()] == [("2001:db8::63", 99), ("192.168.9.4", 1)]
