"""What each route and event needs: one table of rights for a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any


class Right(Enum):
    """What one has to be allowed for a route or an event."""

    OPEN = "open"
    """For everybody."""
    DETECT = "detect"
    """Detection and status: for everybody, unless the setting `open_detection` is off."""
    CHANGE_OR_SEE = "change or see"
    """Changes something or shows pictures: for loopback, trusted networks, API keys and users."""
    NODE = "node"
    """What a detector does in a Loop: for everybody who has logged in, even without a name."""
    ADMINISTRATE = "administrate"
    """For all who may do everything."""


class AccessTable:
    """The rights of one server.

    `routes`: `"METHOD /path"` -> right. `*` as method is every one (WebSocket included, whose own name is `WEBSOCKET`);
    `{name}` stands for one part of a path, `/*` at the end for the path before it and everything below. A route that is
    spelled out beats a pattern, an earlier pattern a later one. `events`: Socket.IO event -> right. What is not named
    needs `CHANGE_OR_SEE`.
    """

    def __init__(self, routes: Mapping[str, Right], events: Mapping[str, Right]) -> None:
        self.events = dict(events)
        self._exact: dict[tuple[str, str], Right] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Right]] = []
        for rule, right in routes.items():
            method, path = rule.split(" ")
            if method == "*" or "*" in path or "{" in path:
                self._patterns.append((method, _pattern(path), right))
            else:
                self._exact[method, path] = right

    def right_to(self, method: str, path: str) -> Right:
        """What `method` (HEAD counts as GET) on `path` needs."""
        return self._named(method, path) or Right.CHANGE_OR_SEE

    def right_to_event(self, event: str) -> Right:
        """What a Socket.IO event needs."""
        return self.events.get(event, Right.CHANGE_OR_SEE)

    def unlisted(self, routes: Iterable[tuple[str, str]]) -> list[str]:
        """Which of these routes (see `walk`) no rule names: they are closed to strangers, perhaps by oversight."""
        return [f"{method} {path}" for method, path in routes if self._named(method, _example(path)) is None]

    def _named(self, method: str, path: str) -> Right | None:
        if method == "HEAD":
            method = "GET"
        right = self._exact.get((method, path))
        if right is not None:
            return right
        for other, pattern, right in self._patterns:
            if (other in {method, "*"} or method == "*") and pattern.fullmatch(path):
                return right
        return None


def _pattern(path: str) -> re.Pattern[str]:
    below = path.endswith("/*")
    parts = re.split(r"\{[^{}]*\}", path.removesuffix("/*"))
    return re.compile("[^/]+".join(map(re.escape, parts)) + ("(?:/.*)?" if below else ""), re.DOTALL)


def _example(template: str) -> str:
    """A path that the template of a route would match."""
    return re.sub(r"\{[^{}]*\}", "x", re.sub(r"\{[^{}]*:path\}", "x/x", template))


def walk(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every (method, path template) that a list of Starlette or FastAPI routes serves.

    HEAD is left out where GET is served; an application mounted whole is `("*", "/mounted/{path:path}")`.
    """
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)  # newer FastAPI keeps an included router whole
        if contexts is not None:
            yield from walk((context.starlette_route or context for context in contexts()), prefix)
            continue
        path = prefix + route.path
        methods = getattr(route, "methods", None)
        if methods:
            yield from ((method, path) for method in sorted(methods) if method != "HEAD" or "GET" not in methods)
        elif getattr(route, "routes", None):
            yield from walk(route.routes, path)
        elif hasattr(route, "endpoint"):
            yield "WEBSOCKET", path
        else:
            yield "*", path + "/{path:path}"
