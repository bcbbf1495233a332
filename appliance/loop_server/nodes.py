"""Nodes that keep a connection over Socket.IO (trainers, annotation nodes): who is there, and what each said last.

What they said survives a restart of the loop; who is there is known only of connections that are open. How words reach a
node is passed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import ValidationError
from sqlalchemy import Connection, delete, insert, select, update

from appliance.loop_server.db import Database
from appliance.loop_server.plain import plain
from appliance.loop_server.tables import nodes, written
from models.errors import InvalidInput, LoopRefused, NotInLoop
from models.wire.training import SocketResponse

log = logging.getLogger(__name__)

MAX_NODES = 1000
"""Nodes that are remembered; those that are away and were not seen for the longest time are forgotten first."""

MAX_ID = 64
"""Characters."""

MAX_STATUS = 256 * 1024
"""Bytes of a status."""

WRITTEN_EVERY = timedelta(seconds=60)
"""A status that says nothing new is written down this often, to spare the disk."""

_VOLATILE = frozenset({"uptime", "progress"})


class Wire(Protocol):
    """How words reach a connection."""

    async def call(self, sid: str, event: str, arguments: tuple[Any, ...], timeout: float) -> Any:
        """Emit an event; returns the acknowledgement. Raises TimeoutError after `timeout` seconds without one."""

    async def emit(self, sid: str, event: str) -> None:
        """Emit an event without arguments; nobody waits for an answer."""


@dataclass(frozen=True)
class Node:
    """One node. `sid` is its connection, None while it is away; `kind` as in its header `nodeType`."""

    kind: str
    id: str
    status: Mapping[str, Any]
    seen: datetime
    sid: str | None = None
    written: datetime | None = None

    @property
    def online(self) -> bool:
        """Whether it is connected."""
        return self.sid is not None

    def shown(self) -> dict[str, Any]:
        """The node as people see it."""
        return {**self.status, "kind": self.kind, "online": self.online, "seen": written(self.seen)}


class Nodes:
    """All nodes by id. Its methods belong to one event loop."""

    def __init__(self, database: Database, wire: Wire, now: Callable[[], datetime]) -> None:
        self._database = database
        self._wire = wire
        self._now = now
        self._nodes: dict[str, Node] = {}
        self._connections: set[str] = set()

    async def start(self) -> None:
        """Remember who was there before; all of them are away."""

        def read(connection: Connection) -> list[Node]:
            return [
                Node(row.kind, row.id, row.status, datetime.fromisoformat(row.seen))
                for row in connection.execute(select(nodes).order_by(nodes.c.seen.desc()).limit(MAX_NODES))
            ]

        self._nodes = {node.id: node for node in await self._database.read(read)}

    def known(self, kind: str | None = None) -> list[Node]:
        """Every node that is known, those that are there first."""
        found = [node for node in self._nodes.values() if kind is None or node.kind == kind]
        return sorted(found, key=lambda node: (not node.online, str(node.status.get("name", "")), node.id))

    def node(self, node_id: str) -> Node:
        """One node. Raises `NotInLoop`."""
        if node_id not in self._nodes:
            raise NotInLoop(f"No node {node_id[:60]!r} has ever connected to this loop")
        return self._nodes[node_id]

    def connected(self, sid: str) -> None:
        """A connection has been opened; who it is will be told."""
        self._connections.add(sid)

    def shown(self, node_id: str) -> dict[str, Any] | None:
        """A node as people see it; None if it has never spoken."""
        found = self._nodes.get(node_id)
        return None if found is None else found.shown()

    async def told(self, sid: str, kind: str, node_id: str, status: Mapping[str, Any]) -> None:
        """A node has told its status over the connection `sid`. Raises `InvalidInput`, `InputTooLarge`, `StorageRefused`."""
        if not 0 < len(node_id) <= MAX_ID or not node_id.isprintable():
            raise InvalidInput(
                f"{node_id[:80]!r} cannot be the id of a node: 1 to {MAX_ID} printable characters are due"
            )
        status = plain(status, MAX_STATUS, "the status")
        before, now = self._nodes.get(node_id), self._now()
        open_sid = sid if sid in self._connections else None  # it may have ended since the status was sent
        after = Node(kind, node_id, status, now, open_sid, before.written if before else None)
        since = after.written
        if before is None or since is None or now - since >= WRITTEN_EVERY or _says(before) != _says(after):
            after = replace(after, written=now)
            forgotten = self._too_many(node_id)
            self._nodes[node_id] = after
            for each in forgotten:
                del self._nodes[each]
            await self._database.write(lambda db: _write(db, after, forgotten))
        else:
            self._nodes[node_id] = after

    def gone(self, sid: str) -> list[Node]:
        """A connection has ended; returns the nodes that spoke over it, as they are from now on: away."""
        self._connections.discard(sid)
        left = [replace(node, sid=None) for node in self._nodes.values() if node.sid == sid]
        for node in left:
            self._nodes[node.id] = node
        return left

    async def call(self, node_id: str, event: str, *arguments: Any, timeout: float) -> Any:
        """Have a node do something; returns the payload of its answer.

        Raises `NotInLoop`, and `LoopRefused` where it is away, says no, or does not answer within `timeout` seconds (504).
        """
        name, sid = self._reach(node_id)
        try:
            answer = await self._wire.call(sid, event, arguments, timeout)
        except TimeoutError as error:
            raise LoopRefused(f"{name!r} did not answer {event} within {timeout:g} s", 504) from error
        if answer is None:
            return None
        try:
            response = SocketResponse.model_validate(answer)
        except ValidationError as error:
            raise LoopRefused(f"{name!r} answered {event} with something that is no answer", 502) from error
        if not response.success:
            raise LoopRefused(f"{name!r} says no to {event}: {response.error_msg or 'without a reason'}", 409)
        return response.payload

    async def tell(self, node_id: str, event: str) -> None:
        """Tell a node something to which it gives no answer. Raises `NotInLoop`, and `LoopRefused` where it is away."""
        _, sid = self._reach(node_id)
        await self._wire.emit(sid, event)

    def _reach(self, node_id: str) -> tuple[str, str]:
        """Name and connection of a node."""
        node = self.node(node_id)
        name = str(node.status.get("name", node_id))
        if node.sid is None:
            raise LoopRefused(f"{name!r} is not connected to the loop; it was last seen {written(node.seen)}", 409)
        return name, node.sid

    def _too_many(self, coming: str) -> list[str]:
        if coming in self._nodes or len(self._nodes) < MAX_NODES:
            return []
        away = sorted((node for node in self._nodes.values() if not node.online), key=lambda node: node.seen)
        if not away:
            raise LoopRefused(f"{MAX_NODES} nodes are connected to this loop already", 503)
        log.warning("node %s was not seen since %s and is forgotten", away[0].id, away[0].seen)
        return [away[0].id]


def _says(node: Node) -> tuple[str, dict[str, Any]]:
    """What of a status is news."""
    return node.kind, {key: value for key, value in node.status.items() if key not in _VOLATILE}


def _write(connection: Connection, node: Node, forgotten: list[str]) -> None:
    context = node.status.get("context")
    context = context if isinstance(context, Mapping) else {}
    values = {
        "organization": _short(context.get("organization")),
        "project": _short(context.get("project")),
        "status": dict(node.status),
        "seen": written(node.seen),
    }
    connection.execute(delete(nodes).where(nodes.c.id.in_(forgotten)))
    here = (nodes.c.kind == node.kind, nodes.c.id == node.id)
    if not connection.execute(update(nodes).where(*here).values(**values)).rowcount:
        connection.execute(delete(nodes).where(nodes.c.id == node.id))
        connection.execute(insert(nodes).values(kind=node.kind, id=node.id, **values))


def _short(value: Any) -> str | None:
    return value[:64] if isinstance(value, str) else None
