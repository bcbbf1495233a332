"""What a browser calls itself, in words for people who want to know whose login that is."""

from __future__ import annotations

import re

_PROGRAMS = (
    (r"\bEdgA?/|\bEdgiOS/", "Edge"),
    (r"\bOPR/|\bOPiOS/", "Opera"),
    (r"\bSamsungBrowser/", "Samsung Internet"),
    (r"\bFirefox/|\bFxiOS/", "Firefox"),
    (r"\bChrome/|\bCriOS/|\bChromium/|\bHeadlessChrome/", "Chrome"),
    (r"\bSafari/", "Safari"),
    (r"^curl/", "curl"),
    (r"^python-|^Python/", "a Python program"),
)
"""Each browser also claims to be those that were there before it, so the order is theirs, the newest first."""

_MACHINES = (
    (r"\biPhone\b", "an iPhone"),
    (r"\biPad\b", "an iPad"),
    (r"\bAndroid\b", "Android"),
    (r"\bWindows\b", "Windows"),
    (r"\bCrOS\b", "ChromeOS"),
    (r"\bMacintosh\b|\bMac OS X\b", "a Mac"),
    (r"\bLinux\b|\bX11\b", "Linux"),
)

_SHOWN = 60
"""Characters of what is none of the usual."""


def browser_in_words(agent: str) -> str:
    """`Firefox on Android`, from the header User-Agent."""
    program = _first(_PROGRAMS, agent)
    machine = _first(_MACHINES, agent)
    if program and machine:
        return f"{program} on {machine}"
    return program or machine or agent.strip()[:_SHOWN] or "an unknown program"


def _first(known: tuple[tuple[str, str], ...], agent: str) -> str:
    return next((name for pattern, name in known if re.search(pattern, agent)), "")
