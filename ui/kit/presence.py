"""Whether a visitor looks at a page, or has put it away and left it open."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from nicegui import Client, events, ui

_OF: WeakKeyDictionary[Client, Presence] = WeakKeyDictionary()


class Presence(ui.element, component="presence.js"):
    """One for each page that is open, see `of`. `looking` is what its browser said last; until then somebody looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = True
        self._handlers: list[Callable[[], None]] = []
        self.on("looking", self._told)

    @classmethod
    def of(cls, client: Client) -> Presence:
        """That of a page, which is being built."""
        found = _OF.get(client)
        if found is None:
            with client.content:
                found = _OF[client] = cls()
        return found

    def on_change(self, handler: Callable[[], None]) -> None:
        """Call it when the page is put away or looked at again."""
        self._handlers.append(handler)

    def _told(self, event: events.GenericEventArguments) -> None:
        looking = event.args is not False
        if looking is not self.looking:
            self.looking = looking
            for handler in self._handlers:
                handler()
