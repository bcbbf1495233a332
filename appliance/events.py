"""Socket.IO as robots speak it, in every era's form: parse, call the service, encode.

Every event is acknowledged. What goes wrong is acknowledged as `{"error": sentence}`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, cast

import socketio
from pydantic import ValidationError
from socketio.base_server import engineio  # the very library that python-socketio uses
from socketio.packet import BINARY_EVENT, EVENT, Packet

from access import Caller, Places, SocketCallers, effective_autoupload
from appliance.api.detect import checked_autoupload, split_tags
from appliance.api.upload import checked_bool
from appliance.detecting import Wish
from appliance.inference.supervisor import Picture
from appliance.services import Services
from models.errors import DetectorApplianceError, InputTooLarge, InvalidInput
from models.wire.image_metadata import ImageMetadata
from models.wire.times import checked_date, written_now

log = logging.getLogger(__name__)

PATH = "ws/socket.io"

PLACES = Places(all=256, strangers=128, address=32)
"""A robot has one connection or two, and sends no credentials; a fleet of robots may share the box, or an address."""

MAX_MESSAGE = 96 * 2**20
"""Bytes. A picture of 64 MiB, which rosys may send, in the base64 that Socket.IO uses while it polls, and its envelope."""

MAX_BATCH = 500
"""Pictures in one `batch_detect`."""

MAX_EVENT = 256 * 2**20
"""Bytes of all pictures in one event."""

MAX_TEXT = 4 * 2**20
"""Characters of an event without its pictures. JSON takes tens of times its length in memory."""

_BEGINNING = re.compile(r'[25](?:(\d{1,10})-)?(\d{0,18})\["([^"\\]{1,60})"')
"""Of a long event: how many pictures are to follow, the number of its acknowledgement, its name."""

BATCH_AT_ONCE = 4
"""Pictures of a batch that wait for the model at a time, so that a batch does not crowd out everybody else."""

Handler = Callable[[Caller, Any], Awaitable[Any]]


class BoundedPacket(Packet):  # type: ignore[misc]  # python-socketio has no types
    """A packet that keeps no more binary data than one event may have: an event is dispatched when all of it is there.

    An event whose data cannot be put together gets the reason as its argument, an exception; nobody can send such a thing.
    """

    # NiceGUI sets another one for everybody, which knows neither NaN nor whole numbers above 64 bits.
    json = engineio.json

    _came = 0
    _bytes = 0

    def decode(self, encoded_packet: str) -> int:
        """The text of a packet; returns how many binary messages are to follow. Raises ValueError where it is none."""
        if len(encoded_packet) <= MAX_TEXT:
            return int(super().decode(encoded_packet) or 0)
        beginning = _BEGINNING.match(encoded_packet)
        if beginning is None:
            raise ValueError(f"a packet of {len(encoded_packet)} characters")
        count, number, name = beginning.groups()
        reason = InputTooLarge(f"The event has more than {MAX_TEXT // 2**20} MiB of text; send pictures as binary data")
        self.packet_type = EVENT if count is None else BINARY_EVENT
        self.namespace, self.id, self.data = None, int(number) if number else None, [name, reason]
        return int(count or 0)

    def add_attachment(self, attachment: bytes | str) -> bool:
        """One message that belongs to this packet; returns whether it was the last."""
        self._came += 1
        self._bytes += len(attachment)
        if self._bytes <= MAX_EVENT and self._came <= MAX_BATCH:
            self.attachments.append(attachment)
        else:
            self.attachments.clear()
        if self._came < self.attachment_count:
            return False
        self.data = self._put_together()
        self.attachments.clear()
        return True

    def _put_together(self) -> Any:
        if self._bytes > MAX_EVENT or self._came > MAX_BATCH:
            reason: DetectorApplianceError = InputTooLarge(
                f"The event came with {self._came} pictures of {self._bytes // 2**20} MiB together; {MAX_BATCH} of "
                f"{MAX_EVENT // 2**20} MiB together are the most"
            )
        else:
            try:
                return self.reconstruct_binary(self.data, self.attachments)
            except (LookupError, TypeError):
                reason = InvalidInput("The event speaks of binary data that did not come with it")
        return [*self.data[:1], reason] if isinstance(self.data, list) else []


def server(services: Services) -> socketio.AsyncServer:
    """The Socket.IO server with all events, bound to the services."""
    # Messages in one request of a polling client: a batch, and what goes with it. The library has no other place for it.
    engineio.payload.Payload.max_decode_packets = MAX_BATCH + 16
    made = socketio.AsyncServer(
        async_mode="asgi",
        max_http_buffer_size=MAX_MESSAGE,
        serializer=BoundedPacket,
        # Access is checked before a request gets here, and by the same rule for every kind of connection.
        cors_allowed_origins=[],
    )
    callers = SocketCallers(services.access)
    events = Events(services)

    # A client may send events named "connect" and "disconnect" and say in them what it likes: python-socketio hands them
    # to these two handlers, too. What is real is told by what only the server has.

    @made.event
    async def connect(sid: str, environ: object = None, auth: object = None, *_more: object) -> dict[str, str] | None:
        if environ is None or environ is not made.get_environ(sid):
            return unknown_event("connect")
        callers.connected(sid, cast("dict[str, Any]", environ), auth)
        return None

    @made.event
    async def disconnect(sid: str, *_why: object) -> dict[str, str] | None:
        if made.manager.is_connected(sid, "/"):
            return unknown_event("disconnect")
        callers.disconnected(sid)
        return None

    def unknown_event(name: object) -> dict[str, str]:
        return {"error": f"Unknown event {str(name)[:60]!r}; known are {', '.join(events.handlers)}"}

    def handle(name: str, handler: Handler) -> None:
        async def on_event(sid: str, *arguments: Any) -> Any:
            try:
                caller = callers.demand(sid, name)
                argument = arguments[0] if arguments else None
                if isinstance(argument, DetectorApplianceError):
                    raise argument
                return await handler(caller, argument)
            except DetectorApplianceError as error:
                return {"error": str(error)}
            except Exception as error:  # supervises every event: silence would leave a robot waiting for its time-out
                log.exception("unforeseen error in event %s", name)
                return {"error": f"Unforeseen error ({type(error).__name__}); the log of the box tells more"}

        made.on(name, on_event)

    for name, handler in events.handlers.items():
        handle(name, handler)

    @made.on("*")
    async def unknown(name: object, _sid: str, *_arguments: object) -> dict[str, str]:
        return unknown_event(name)

    return made


class Events:
    """The events as functions of caller and payload."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.handlers: Mapping[str, Handler] = {
            "detect": self.detect,
            "batch_detect": self.batch_detect,
            "upload": self.upload,
            "info": self.info,
            "about": self.about,
            "get_model_version": self.get_model_version,
            "set_model_version_mode": self.set_model_version_mode,
            "get_outbox_mode": self.get_outbox_mode,
            "set_outbox_mode": self.set_outbox_mode,
            "soft_reload": self.soft_reload,
            "get_update": self.get_update,
            "get_update_lock": self.get_update_lock,
            "set_update_lock": self.set_update_lock,
        }

    async def detect(self, caller: Caller, data: Any) -> dict[str, Any]:
        """One picture -> ImageMetadata."""
        payload = _mapping(data)
        picture, wish = picture_of(payload.get("image")), self._wish(caller, payload)
        return await self._detect(picture, wish)

    async def _detect(self, picture: Picture, wish: Wish) -> dict[str, Any]:
        services = self._services
        with services.metrics.detection("socketio"), services.budget.reserve(len(picture.payload)):
            detected = await services.detecting.detect(picture, wish)
        services.metrics.stages(detected.timings)
        return detected.metadata.model_dump(mode="json")

    async def batch_detect(self, caller: Caller, data: Any) -> dict[str, Any]:
        """Several pictures -> `{"items": [ImageMetadata, ...]}`, one for each, in order."""
        payload = _mapping(data)
        images = payload.get("images")
        if not isinstance(images, list | tuple):
            raise InvalidInput("The event batch_detect needs the key 'images' with a list of pictures")
        if len(images) > MAX_BATCH:
            raise InputTooLarge(f"The batch has {len(images)} pictures; {MAX_BATCH} are the most")
        pictures, wish = [picture_of(image) for image in images], self._wish(caller, payload)
        turns = asyncio.Semaphore(BATCH_AT_ONCE)

        async def one(picture: Picture) -> dict[str, Any]:
            async with turns:
                return await self._detect(picture, wish)

        tasks = [asyncio.create_task(one(picture)) for picture in pictures]
        try:
            return {"items": list(await asyncio.gather(*tasks))}
        finally:
            for task in tasks:
                task.cancel()

    async def upload(self, _caller: Caller, data: Any) -> dict[str, str] | None:
        """One picture for the Loop. Acknowledged with null to the clients that know no better (0.13 to 0.16)."""
        payload = _mapping(data)
        image, metadata = payload.get("image"), upload_metadata(payload)
        priority = checked_bool("upload_priority", payload.get("upload_priority"))
        picture = picture_of(image)
        with self._services.budget.reserve(len(picture.payload)):
            await self._services.detecting.upload([picture], metadata, priority=priority)
        return None if isinstance(image, bytes) and payload.get("metadata") is None else {"status": "OK"}

    async def info(self, _caller: Caller, _data: Any) -> dict[str, Any]:
        """The model, or `{"status": why there is none}`."""
        return self._services.info()

    async def about(self, _caller: Caller, _data: Any) -> dict[str, Any]:
        """As `GET /about`."""
        return self._services.about().model_dump(mode="json")

    async def get_model_version(self, _caller: Caller, _data: Any) -> dict[str, Any]:
        """As `GET /model_version`."""
        return (await self._services.versions.response()).model_dump(mode="json")

    async def set_model_version_mode(self, _caller: Caller, data: Any) -> dict[str, str]:
        """As `PUT /model_version`."""
        await self._services.versions.set_mode(_word(data))
        return {"status": "OK"}

    async def get_outbox_mode(self, _caller: Caller, _data: Any) -> dict[str, str]:
        """As `GET /outbox_mode`."""
        return {"outbox_mode": self._services.outbox_mode()}

    async def set_outbox_mode(self, _caller: Caller, data: Any) -> dict[str, str]:
        """As `PUT /outbox_mode`."""
        await self._services.set_outbox_mode(_word(data))
        return {"status": "OK"}

    async def soft_reload(self, _caller: Caller, _data: Any) -> dict[str, str]:
        """Loads the model anew beside itself; acknowledged at once."""
        self._services.soft_reload()
        return {"status": "OK"}

    async def get_update(self, _caller: Caller, _data: Any) -> dict[str, Any]:
        """As `GET /api/v1/update`."""
        return self._services.versions.update.model_dump(mode="json")

    async def get_update_lock(self, _caller: Caller, _data: Any) -> dict[str, Any]:
        """As `GET /api/v1/update_lock`."""
        return self._services.update_lock()

    async def set_update_lock(self, _caller: Caller, data: Any) -> dict[str, Any]:
        """As `PUT /api/v1/update_lock`: seconds, or `{"seconds": n}`; 0 takes the lease back."""
        self._services.versions.lock.hold(_seconds(data.get("seconds") if isinstance(data, Mapping) else data))
        return {"status": "OK", **self._services.update_lock()}

    def _wish(self, caller: Caller, payload: Mapping[str, Any]) -> Wish:
        autoupload = checked_autoupload(payload.get("autoupload"))
        return Wish(
            camera_id=_text(payload, "camera_id", "camera-id", "mac"),
            tags=_tags(payload.get("tags")),
            source=_text(payload, "source"),
            created=checked_date(_text(payload, "creation_date")),
            autoupload=effective_autoupload(caller, autoupload),
            max_wait=self._services.settings.max_wait_socketio_s,
        )


def picture_of(image: Any) -> Picture:
    """A picture in any era's form: JPEG bytes; `{bytes, dtype, shape}` or `format` `raw`: pixels; `format` `jpeg`: JPEG."""
    if isinstance(image, bytes | bytearray):
        return Picture(bytes(image))
    if not isinstance(image, Mapping):
        raise InvalidInput(
            "The key 'image' should hold the bytes of a JPEG, or {bytes, dtype, shape}, or {format, bytes}"
        )
    data = image.get("bytes")
    if not isinstance(data, bytes | bytearray):
        raise InvalidInput("The picture's key 'bytes' should hold binary data")
    kind = image.get("format") or "raw"
    if kind == "jpeg":
        return Picture(bytes(data))
    if kind != "raw":
        raise InvalidInput(f"The picture's format is {str(kind)[:60]!r}; it should be raw or jpeg")
    shape, dtype = image.get("shape"), image.get("dtype")
    if not isinstance(shape, list | tuple) or not isinstance(dtype, str):
        raise InvalidInput("A raw picture needs 'shape', such as [480, 640, 3], and 'dtype', such as 'uint8'")
    return Picture(bytes(data), {"dtype": dtype[:60], "shape": [_side(side) for side in shape[:8]]})


def _side(side: Any) -> int | float:
    if isinstance(side, bool) or not isinstance(side, int | float):
        raise InvalidInput(f"The shape of a raw picture should be whole numbers, not {str(side)[:60]!r}")
    return side


def upload_metadata(payload: Mapping[str, Any]) -> ImageMetadata:
    """What an upload says of its picture: `metadata` (0.17+), else `detections` with tags, source and date beside them."""
    given = payload.get("metadata")
    if given is None:
        given = dict(_mapping(payload.get("detections") or {}))
        given.pop("created", None)
        for key, name in (("tags", "tags"), ("source", "source"), ("creation_date", "created")):
            if payload.get(key) is not None:
                given[name] = payload[key]
    try:
        metadata = ImageMetadata.model_validate(_mapping(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"The picture's metadata cannot be understood: {where}: {first['msg']}") from error
    metadata.created = checked_date(metadata.created) or written_now(datetime.now())
    return metadata


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidInput("The event needs a dictionary as its argument")
    return data


def _word(data: Any) -> str:
    if not isinstance(data, str):
        raise InvalidInput("The event needs a word as its argument")
    return data.strip()


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput('The event needs a number of seconds, or {"seconds": n}, as its argument')
    return min(max(value, -1.0), 1e9)  # whole numbers may be longer than any float


def _text(payload: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = payload.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
        raise InvalidInput(f"{name} should be text")
    return None


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return split_tags(value)
    if isinstance(value, list | tuple) and all(isinstance(tag, str) for tag in value):
        return tuple(value)
    raise InvalidInput("tags should be a list of texts")
