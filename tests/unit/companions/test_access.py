"""Who may use a companion: a table of requests."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from companions.access import policy

POLICY = policy([ip_network("10.0.0.0/8")], [], "gpu")

HERE, NEAR, FAR = "127.0.0.1", "10.1.2.3", "203.0.113.7"


def refusal(method: str, path: str, peer: str | None, **headers: str | list[str]) -> str | None:
    named = {"host": "gpu:8024", **headers}
    listed = {name: value if isinstance(value, list) else [value] for name, value in named.items()}
    encoded = [(name.replace("_", "-").encode(), text.encode()) for name, texts in listed.items() for text in texts]
    kind = {"type": "websocket"} if method == "WEBSOCKET" else {"type": "http", "method": method}
    client = None if peer is None else (peer, 4711)
    _, refused = POLICY.judge({**kind, "path": path, "client": client, "headers": encoded})
    return None if refused is None else refused.sentence


@pytest.mark.parametrize(
    ("method", "path", "peer", "headers"),
    [
        ("PUT", "/socketio", HERE, {}),
        ("PUT", "/socketio", "::ffff:127.0.0.1", {}),
        ("GET", "/", "::1", {"host": "[::1]:8024"}),
        ("PUT", "/socketio", NEAR, {}),
        ("GET", "/healthz", FAR, {}),
        ("PUT", "/socketio", HERE, {"origin": "http://gpu:8024"}),
        ("PUT", "/socketio", HERE, {"host": "localhost"}),
        ("WEBSOCKET", "/_nicegui_ws/", HERE, {"origin": "http://gpu:8024"}),
    ],
)
def test_may(method: str, path: str, peer: str, headers: dict[str, str]) -> None:
    assert refusal(method, path, peer, **headers) is None


@pytest.mark.parametrize(
    ("method", "path", "peer", "headers", "words"),
    [
        ("PUT", "/socketio", FAR, {}, "trusted_networks"),
        ("POST", "/healthz", FAR, {}, "trusted_networks"),
        ("GET", "/", FAR, {}, "trusted_networks"),
        (
            "GET",
            "/",
            FAR,
            {"x_api_key": "K"},
            "its own is 203.0.113.0/24 (setting trusted_networks). Otherwise ask from",
        ),
        ("GET", "/", FAR, {"authorization": "Bearer K"}, "Otherwise ask from the machine itself"),
        ("GET", "/", None, {}, "No address is known"),
        ("GET", "/", HERE, {"x_forwarded_for": "10.0.0.1"}, "no proxy is trusted here. Otherwise ask from"),
        ("GET", "/", NEAR, {"forwarded": "for=10.0.0.1"}, "no proxy is trusted here. Otherwise ask from"),
        ("GET", "/", HERE, {"host": "evil.example"}, "allowed_hosts"),
        ("GET", "/", HERE, {"host": ["gpu", "gpu"]}, "one Host header"),
        ("GET", "/", HERE, {"host": "gpu:99999"}, "one Host header"),
        ("PUT", "/socketio", HERE, {"origin": "http://evil.example"}, "another origin"),
        ("PUT", "/socketio", HERE, {"origin": "http://gpu:8004"}, "another origin"),
        ("PUT", "/socketio", HERE, {"origin": "null"}, "another origin"),
        ("WEBSOCKET", "/", HERE, {"origin": "http://evil.example"}, "another origin"),
        ("POST", "/reset", HERE, {"sec_fetch_site": "cross-site"}, "another site"),
        ("OPTIONS", "/reset", HERE, {"access_control_request_method": "PUT"}, "other origins"),
    ],
)
def test_may_not(method: str, path: str, peer: str | None, headers: dict[str, str], words: str) -> None:
    sentence = refusal(method, path, peer, **headers)
    assert sentence is not None
    assert words in sentence
