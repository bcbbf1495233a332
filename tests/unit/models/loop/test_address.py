"""Where a Loop is, from what people write into LOOP_HOST."""

from __future__ import annotations

import pytest

from models.errors import SettingsInvalid
from models.loop.address import loop_address


@pytest.mark.parametrize(
    ("text", "url", "socket_url"),
    [
        ("learning-loop.ai", "https://learning-loop.ai", "wss://learning-loop.ai"),
        ("preview.learning-loop.ai", "https://preview.learning-loop.ai", "wss://preview.learning-loop.ai"),
        ("Learning-Loop.AI", "https://learning-loop.ai", "wss://learning-loop.ai"),
        ("learning-loop.ai:8443", "https://learning-loop.ai:8443", "wss://learning-loop.ai:8443"),
        ("http://learning-loop.ai", "http://learning-loop.ai", "ws://learning-loop.ai"),
        ("loop.example", "http://loop.example", "ws://loop.example"),
        ("loop.example:8014", "http://loop.example:8014", "ws://loop.example:8014"),
        ("https://loop.example/", "https://loop.example", "wss://loop.example"),
        ("HTTPS://loop.example:8443//", "https://loop.example:8443", "wss://loop.example:8443"),
        ("wss://loop.example", "https://loop.example", "wss://loop.example"),
        ("ws://loop.example", "http://loop.example", "ws://loop.example"),
        (" localhost:8014 ", "http://localhost:8014", "ws://localhost:8014"),
        ("192.168.1.20:8014", "http://192.168.1.20:8014", "ws://192.168.1.20:8014"),
        ("[fe80::1]:8014", "http://[fe80::1]:8014", "ws://[fe80::1]:8014"),
        ("::1", "http://[::1]", "ws://[::1]"),
        ("gpu_server-2", "http://gpu_server-2", "ws://gpu_server-2"),
    ],
)
def test_a_host_becomes_a_url_https_only_for_the_public_loop_or_where_it_says_so(
    text: str, url: str, socket_url: str
) -> None:
    address = loop_address(text)
    assert (address.url, address.socket_url) == (url, socket_url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "http://",
        "ftp://loop.example",
        "loop.example:port",
        "loop.example:0",
        "loop.example:65536",
        "loop.example:",
        "loop.example/path",
        "loop.example?x=1",
        "user:password@loop.example",
        "two words",
        "[::1",
        "loop.example\r\nx: y",
        "x" * 100 + "/y",
    ],
)
def test_what_is_no_host_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"like learning-loop.ai or http://192.168.1.20:8014") as failure:
        loop_address(text)
    assert len(str(failure.value)) < 300


@pytest.mark.parametrize(
    ("text", "nearby"),
    [
        ("127.0.0.1:8014", True),
        ("[::1]:8014", True),
        ("localhost", True),
        ("10.1.2.3", True),
        ("192.168.1.20", True),
        ("172.20.0.1", True),
        ("169.254.7.7", True),
        ("100.64.1.1", True),
        ("[fd00::7]", True),
        ("[fe80::7]", True),
        ("gpu-server", True),
        ("gpu-server.local", True),
        ("loop.fritz.box.lan", True),
        ("learning-loop.ai", False),
        ("loop.example.com", False),
        ("8.8.8.8", False),
        ("[2606:4700::1111]", False),
    ],
)
def test_addresses_nearby_are_told_from_those_out_in_the_world(text: str, nearby: bool) -> None:
    assert loop_address(text).is_nearby is nearby
