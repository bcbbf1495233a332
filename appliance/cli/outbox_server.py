"""The outbox of a running server, as a command sees it: the same methods as `OutboxFolder` has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from appliance.cli.server import LONGEST_PAUSE_S, Server
from appliance.outbox.folders import is_id
from models.errors import InvalidInput

PAGE = 200


class OutboxServer:
    """Raises `DetectorApplianceError` with the server's own words."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def count(self, *, rejected: bool) -> int:
        """How many there are."""
        told = self._server.ask("GET", "/api/v1/outbox")
        return int(told["rejected"]["items"] if rejected else told["waiting"])

    def items(self, *, rejected: bool) -> Iterator[dict[str, Any]]:
        """One by one, asked for page by page."""
        after: dict[str, str] = {}
        while True:
            page = self._server.ask("GET", _list(rejected), params={"limit": str(PAGE), **after})
            yield from page["items"]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    def item(self, item_id: str) -> dict[str, Any] | None:
        """None where there is none of this name, or no more."""
        answer = self._server.ask_if_there("GET", _item(item_id))
        return None if answer is None else dict(answer.json())

    def picture(self, item_id: str) -> bytes | None:
        """As it came."""
        answer = self._server.ask_if_there("GET", f"{_item(item_id)}/picture")
        return None if answer is None else answer.content

    def retry(self, item_id: str | None = None) -> int:
        """Put a rejected picture back, all where none is named; how many."""
        if item_id is None:
            return int(self._server.ask("POST", "/api/v1/outbox/retry")["count"])
        return int(self._server.ask_if_there("POST", f"{_item(item_id)}/retry") is not None)

    def clear(self, *, rejected: bool) -> Iterator[int]:
        """Delete them for good; how many."""
        yield int(self._server.ask("DELETE", _list(rejected), timeout=LONGEST_PAUSE_S)["count"])

    def size(self, *, rejected: bool) -> int:
        """Bytes of pictures and metadata together."""
        told = self._server.ask("GET", "/api/v1/outbox")
        return int(told["rejected"]["bytes"] if rejected else told["bytes"])

    def packed(self, *, rejected: bool) -> Iterator[bytes]:
        """The pictures as a zip, as they come."""
        return self._server.pieces("/api/v1/outbox/export", {"folder": "rejected" if rejected else "waiting"})


def _list(rejected: bool) -> str:
    return f"/api/v1/outbox/{'rejected' if rejected else 'items'}"


def _item(item_id: str) -> str:
    if not is_id(item_id):
        raise InvalidInput(f"{item_id[:100]!r} is no picture's id; `appliance outbox list` shows them.")
    return f"/api/v1/outbox/items/{quote(item_id, safe='')}"
