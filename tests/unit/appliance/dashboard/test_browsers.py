"""What browsers call themselves, and what people call them."""

from __future__ import annotations

import pytest

from appliance.dashboard.browsers import browser_in_words

PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
DESK = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "

AGENTS = {
    f"{DESK}Chrome/131.0.0.0 Safari/537.36": "Chrome on Windows",
    f"{DESK}Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0": "Edge on Windows",
    f"{DESK}Chrome/131.0.0.0 Safari/537.36 OPR/116.0.0.0": "Opera on Windows",
    f"{PHONE}Chrome/131.0.0.0 Mobile Safari/537.36": "Chrome on Android",
    f"{PHONE}SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
    "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0": "Firefox on Android",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0": "Firefox on Linux",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 Safari/604.1": (
        "Safari on an iPhone"
    ),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15": "Safari on a Mac",
    "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 CriOS/131.0 Mobile/15E148 Safari/604.1": (
        "Chrome on an iPad"
    ),
    "curl/8.5.0": "curl",
    "python-httpx/0.28.1": "a Python program",
    "forklift 7": "forklift 7",
    "": "an unknown program",
}


@pytest.mark.parametrize("agent", AGENTS)
def test_a_browser_is_named_as_people_name_it(agent: str) -> None:
    assert browser_in_words(agent) == AGENTS[agent]


def test_a_name_without_end_is_cut() -> None:
    assert len(browser_in_words("x" * 5000)) == 60
