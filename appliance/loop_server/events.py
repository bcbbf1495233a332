"""Socket.IO as nodes speak it with a Loop: they connect to it, tell how they are, and are told what to do.

Every event of a node is acknowledged with `{success, error_msg, payload}`; what goes wrong is an `error_msg`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import socketio
from pydantic import BaseModel, ValidationError
from socketio.base_server import engineio  # the very library that python-socketio uses
from socketio.packet import BINARY_ACK, BINARY_EVENT, Packet

from access import Places, SocketCallers
from appliance.loop_server import detector_records, model_records
from appliance.loop_server.image_records import annotate_segmentation
from appliance.loop_server.open_doors import pass_through
from appliance.loop_server.projects import project_key
from appliance.loop_server.services import LoopServices
from models.errors import AccessDenied, DetectorApplianceError, InputTooLarge, InvalidInput
from models.wire.loop import DetectorStatus
from models.wire.training import (
    AnnotationNodeStatus,
    SegmentationAnnotation,
    SocketResponse,
    TrainingOut,
    TrainingStatus,
)

log = logging.getLogger(__name__)

PATH = "ws/socket.io"

MAX_MESSAGE = 4 * 2**20
"""Bytes: a confusion matrix of thousands of categories, or a polygon of tens of thousands of corners."""

PLACES = Places(all=500, strangers=250, address=100)
"""Old detectors have no login, and those of a whole hall may have one address."""

ANNOTATION_NODE = "annotation_node"
DETECTOR = "detector"
"""Kinds of nodes, as their header `nodeType` says them."""

Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[["Connection", tuple[Any, ...]], Awaitable[Any]]


class TextPacket(Packet):  # type: ignore[misc]  # python-socketio has no types
    """A packet of JSON alone: nodes send no binary data, and what is announced of it would be waited for without end."""

    # NiceGUI sets another one for everybody, which knows neither NaN nor whole numbers above 64 bits.
    json = engineio.json

    def decode(self, encoded_packet: str) -> int:
        """See python-socketio. Raises ValueError for binary data and for JSON that is nested without end."""
        try:
            attachments = int(super().decode(encoded_packet) or 0)
        except RecursionError as error:
            raise ValueError("JSON that is nested too deeply") from error
        if attachments or self.packet_type in {BINARY_EVENT, BINARY_ACK}:
            raise ValueError("binary data, which no node sends")
        return 0


@dataclass(frozen=True)
class Connection:
    """One connection. `node_type` is what its header said, and may be anything."""

    sid: str
    node_type: str


def sockets() -> socketio.AsyncServer:
    """The Socket.IO server, without any events yet."""
    return socketio.AsyncServer(
        async_mode="asgi",
        max_http_buffer_size=MAX_MESSAGE,
        serializer=TextPacket,
        # Access is checked before a request gets here, and by the same rule for every kind of connection.
        cors_allowed_origins=[],
    )


class NodeWire:
    """How words reach nodes: see `nodes.Wire`."""

    def __init__(self, server: socketio.AsyncServer) -> None:
        self._server = server

    async def call(self, sid: str, event: str, arguments: tuple[Any, ...], timeout: float) -> Any:
        """See `nodes.Wire`."""
        try:
            return await self._server.call(event, arguments or None, to=sid, timeout=timeout)
        except socketio.exceptions.TimeoutError as error:
            raise TimeoutError(event) from error

    async def emit(self, sid: str, event: str) -> None:
        """See `nodes.Wire`."""
        await self._server.emit(event, to=sid)


def register(server: socketio.AsyncServer, services: LoopServices) -> None:
    """Answer the events of nodes."""
    callers = SocketCallers(services.access)
    connections: dict[str, Connection] = {}
    events = Events(services)

    # A client may send events named "connect" and "disconnect" and say in them what it likes: python-socketio hands them
    # to these two handlers, too. What is real is told by what only the server has.

    async def connect(sid: str, environ: object = None, auth: object = None, *_more: object) -> dict[str, Any] | None:
        if environ is None or environ is not server.get_environ(sid):
            return _no("There is no event 'connect'")
        said = cast("dict[str, Any]", environ)
        callers.connected(sid, said, auth)
        connection = Connection(sid, str(said.get("HTTP_NODETYPE", "")))
        try:
            if connection.node_type != DETECTOR:  # those up to 0.15 never log in
                callers.demand(sid, "connect")
        except AccessDenied as error:
            callers.disconnected(sid)
            raise socketio.exceptions.ConnectionRefusedError(str(error)) from error
        connections[sid] = connection
        services.nodes.connected(sid)
        return None

    async def disconnect(sid: str, *_why: object) -> dict[str, Any] | None:
        if server.manager.is_connected(sid, "/"):
            return _no("There is no event 'disconnect'")
        callers.disconnected(sid)
        connection = connections.pop(sid, None)
        services.nodes.gone(sid)
        if connection is not None:
            await events.gone(connection)
        return None

    def handle(name: str, handler: Handler) -> None:
        async def on_event(sid: str, *arguments: Any) -> dict[str, Any]:
            try:
                pass_through(services, callers.demand(sid, name))
                payload = await handler(connections[sid], arguments)
                return SocketResponse(success=True, payload=payload).model_dump()
            except DetectorApplianceError as error:
                return _no(str(error))
            except Exception as error:  # supervises every event: silence would leave a node waiting for its time-out
                log.exception("unforeseen error in event %s", name)
                return _no(f"Unforeseen error ({type(error).__name__}); the log of the loop tells more")

        server.on(name, on_event)

    async def unknown(name: object, _sid: str, *_arguments: object) -> dict[str, Any]:
        return _no(f"Unknown event {str(name)[:60]!r}; known are {', '.join(events.handlers)}")

    server.on("connect", connect)
    server.on("disconnect", disconnect)
    server.on("*", unknown)
    for name, handler in events.handlers.items():
        handle(name, handler)


def _no(sentence: str) -> dict[str, Any]:
    return SocketResponse(success=False, error_msg=sentence).model_dump()


class Events:
    """The events of nodes, as functions of connection and arguments; what they return is the payload of the answer."""

    def __init__(self, services: LoopServices) -> None:
        self._services = services
        self._detectors: dict[str, tuple[str, str, str]] = {}
        self.handlers: Mapping[str, Handler] = {
            "update_trainer": self.update_trainer,
            "update_training": self.update_training,
            "update_annotation_node": self.update_annotation_node,
            "update_segmentation_annotation": self.update_segmentation_annotation,
            "update_detector": self.update_detector,
        }

    async def update_trainer(self, connection: Connection, arguments: tuple[Any, ...]) -> None:
        """A trainer tells how it is, every 5 s."""
        [status] = _taken(arguments, "the status")
        await self._services.trainings.trainer_told(connection.sid, _parsed(TrainingStatus, status))

    async def update_training(self, _connection: Connection, arguments: tuple[Any, ...]) -> None:
        """A trainer has found a better model."""
        organization, project, found = _taken(arguments, "organization", "project", "the metrics")
        await self._services.trainings.trainer_found(_text(organization), _text(project), _parsed(TrainingOut, found))

    async def update_annotation_node(self, connection: Connection, arguments: tuple[Any, ...]) -> None:
        """An annotation node tells how it is, every 5 s."""
        [given] = _taken(arguments, "the status")
        status = _parsed(AnnotationNodeStatus, given)
        await self._services.nodes.told(connection.sid, ANNOTATION_NODE, status.id, status.model_dump(mode="json"))

    async def update_segmentation_annotation(self, _connection: Connection, arguments: tuple[Any, ...]) -> None:
        """An annotation node has finished what a person drew with its help."""
        organization, project, given = _taken(arguments, "organization", "project", "the annotation")
        annotation = _parsed(SegmentationAnnotation, given)
        where = (_text(organization), _text(project))
        await self._services.database.write(lambda db: annotate_segmentation(db, project_key(db, *where), annotation))

    async def update_detector(self, connection: Connection, arguments: tuple[Any, ...]) -> dict[str, str] | None:
        """A detector of learning-loop-node up to 0.15 tells how it is; it is told the deployment target, null if none."""
        organization, project, given = _taken(arguments, "organization", "project", "the status")
        if isinstance(given, Mapping) and "uuid" not in given:
            given = {**given, "uuid": given.get("id")}
        status = _parsed(DetectorStatus, given)
        where, now = (_text(organization), _text(project)), self._services.now()

        def told(db: Any) -> model_records.ModelRecord | None:
            key = project_key(db, *where)
            detector_records.seen(db, key, status, now)
            return model_records.target(db, key)

        target = await self._services.database.write(told)
        self._detectors[connection.sid] = (*where, status.uuid)
        return None if target is None else {"target_model_id": target.id, "target_model_version": target.version or ""}

    async def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        detector = self._detectors.pop(connection.sid, None)
        if detector is None:
            return
        organization, project, uuid = detector

        def gone(db: Any) -> None:
            detector_records.gone(db, project_key(db, organization, project), uuid)

        try:
            await self._services.database.write(gone)
        except DetectorApplianceError as error:  # nobody is there any more who could be told
            log.warning("could not note that detector %s is gone: %s", uuid, error)


def _taken(arguments: tuple[Any, ...], *names: str) -> tuple[Any, ...]:
    if len(arguments) != len(names):
        raise InvalidInput(f"The event takes {len(names)} arguments: {', '.join(names)}; it came with {len(arguments)}")
    return arguments


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("Organization and project should be texts")
    return value


def _parsed(model: type[Model], value: Any) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"The event cannot be understood: {where}: {first['msg']}") from error
    except RecursionError as error:
        raise InputTooLarge("The event is nested too deeply") from error
