"""The life of a node: log in, connect, say every few seconds that it lives, answer events, come back when it was lost.

Trainers, converters and annotators share it; what they say and how they answer is handed in.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel, ValidationError

from models.errors import DetectorApplianceError, LoopBusy, LoopError, LoopUnreachable
from models.loop.client import LoopClient
from models.loop.sockets import Handler, Socket, SocketIO
from models.wire.training import SocketResponse

log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
FIRST_BACK_OFF_S = 2.0
LONGEST_BACK_OFF_S = 60.0
CALL_WITHIN_S = 60.0
MOST_AT_ONCE = 64
"""Events that are being answered at the same time; more are refused."""

RESERVED = frozenset({"connect", "connect_error", "disconnect", "restart"})

Answer: TypeAlias = "str | bool | SocketResponse | None"
EventHandler: TypeAlias = Callable[..., Awaitable[Answer]]
Heartbeat: TypeAlias = Callable[[], Awaitable[bool]]


class MakeSocket(Protocol):
    """Makes a connection that is not open yet."""

    async def __call__(
        self,
        client: LoopClient,
        headers: Mapping[str, str],
        handlers: Mapping[str, Handler],
    ) -> Socket: ...


async def make_socket(client: LoopClient, headers: Mapping[str, str], handlers: Mapping[str, Handler]) -> Socket:
    """A Socket.IO connection with the session, the certificate and the proxy rule of `client`."""
    address = client.address
    tls = await asyncio.to_thread(client.session.tls) if address.scheme == "https" else None
    return SocketIO(address.socket_url, headers, client.session.cookies, tls, not address.is_nearby, handlers)


def back_off(failures: int, error: LoopError | None, dice: float) -> float:
    """Seconds to wait after so many failures in a row, the last being `error`. Pure; `dice` is 0..1.

    Doubles from `FIRST_BACK_OFF_S` to `LONGEST_BACK_OFF_S`, and a random half of it is left out, so that the nodes of a
    fleet do not come back together. What the Loop asks for with `Retry-After` counts if it is more.
    """
    longest = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(max(failures - 1, 0), 16))
    seconds = longest * (0.5 + dice / 2)
    asked_for = error.retry_after if isinstance(error, LoopBusy) and error.retry_after is not None else 0.0
    return max(seconds, asked_for * (1 + dice / 10))


def acknowledgement(answer: Answer) -> dict[str, Any] | None:
    """What goes back to the Loop: upstream's nodes wrap text, truth and nothing in this way. Raises `TypeError`."""
    if answer is None:
        return None
    if isinstance(answer, bool):
        answer = SocketResponse(success=answer)
    elif isinstance(answer, str):
        answer = SocketResponse(success=True, payload=answer)
    if not isinstance(answer, SocketResponse):
        raise TypeError(
            f"an event is answered with text, a bool, a SocketResponse or None, not {type(answer).__name__}"
        )
    return answer.model_dump(mode="json")


class LoopNode:
    """A node in one Loop. Register handlers with `on`, then `run` it; `close` ends it.

    `node_type` is `trainer`, `annotation_node` or `converter`. `heartbeat` is awaited every `HEARTBEAT_S` seconds while
    there is a connection; False, or a `LoopError`, says that the connection is no good: it is made anew. `restart` is
    called when the Loop asks for it; it must end the program soon, and `run` goes on until then.
    """

    def __init__(
        self,
        client: LoopClient,
        node_type: str,
        *,
        heartbeat: Heartbeat,
        restart: Callable[[], None],
        organization: str = "",
        project: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
        make_socket: MakeSocket = make_socket,
    ) -> None:
        self._client = client
        self._headers = {"organization": organization, "project": project, "nodeType": node_type}
        self._heartbeat = heartbeat
        self._restart = restart
        self._sleep = sleep
        self._dice = dice
        self._make_socket = make_socket
        self._handlers: dict[str, Handler] = {"restart": self._answering("restart", self._on_restart)}
        self._answers: set[asyncio.Task[Any]] = set()
        self._socket: Socket | None = None
        self._login_is_void = False
        self._run: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        self.refused_events = 0

    @property
    def is_connected(self) -> bool:
        """Whether events can be sent now."""
        return self._socket is not None and self._socket.is_open

    def on(self, event: str, handler: EventHandler) -> None:
        """Answer an event. The handler is given its arguments; an exception becomes an answer that says what failed.

        For before `run`. Raises `ValueError` for an event that the node answers itself.
        """
        if event in RESERVED:
            raise ValueError(f"the event {event!r} belongs to the node")
        self._handlers[event] = self._answering(event, handler)

    async def call(self, event: str, *arguments: Any, timeout: float = CALL_WITHIN_S) -> SocketResponse | None:
        """Send an event and wait for its acknowledgement, None if that is empty. Wire objects may be arguments.

        Raises `LoopUnreachable`: no connection, none any more, no acknowledgement in time, or one in no form that a Loop
        uses. Whether `success` is true is for the caller to look at.
        """
        socket = self._socket
        if socket is None or not socket.is_open:
            raise LoopUnreachable(f"no connection to {self._client.base_url} for {event}")
        answer = await socket.call(event, tuple(_as_json(argument) for argument in arguments), timeout)
        if answer is None:
            return None
        try:
            return SocketResponse.model_validate(answer)
        except ValidationError as error:
            raise LoopUnreachable(
                f"what is at {self._client.base_url} acknowledged {event} with {str(answer)[:80]!r}, "
                "which no Learning Loop does"
            ) from error

    async def run(self) -> None:
        """Live: returns after `close`, or when it is cancelled. Raises nothing else."""
        if self._run is not None:
            raise RuntimeError("a node lives once at a time")
        self._run = asyncio.current_task()
        failures = 0
        try:
            while True:
                error: LoopError | None = None
                try:
                    await self._connect()
                    if await self._live():
                        failures = 0
                except LoopError as caught:
                    error = caught
                    self._tell(str(caught))
                finally:
                    await self._disconnect()
                failures += 1
                await self._sleep(back_off(failures, error, self._dice()))
        finally:
            self._run = None

    async def close(self) -> None:
        """End the life, the connection, and what is being answered. The client stays open: others may use it."""
        if self._run is not None and self._run is not asyncio.current_task():
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
        await self._disconnect()
        answers = [task for task in self._answers if task is not asyncio.current_task()]
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)

    async def _connect(self) -> None:
        session = self._client.session
        await session.log_in(anew=self._login_is_void)
        self._login_is_void = False
        self._socket = await self._make_socket(self._client, self._headers, self._handlers)
        try:
            await self._socket.open()
        except LoopError:
            # It may have refused the session: nobody says so in Socket.IO.
            self._login_is_void = True
            raise
        log.info("connected to %s", self._client.base_url)

    async def _live(self) -> bool:
        """Beat until the connection is no good any more; whether it ever was."""
        assert self._socket is not None
        was_good = False
        while self._socket.is_open:
            if not await self._beat():
                return was_good
            was_good = True
            self.trouble = None
            await self._pause(self._socket)
        self._tell(f"the connection to {self._client.base_url} was lost")
        return was_good

    async def _beat(self) -> bool:
        try:
            if await self._heartbeat():
                return True
            self._tell(f"the Loop at {self._client.base_url} does not accept this node's status")
        except LoopError as error:
            self._tell(str(error))
        except Exception as error:
            # Supervises every heartbeat: a bug in one must be seen, and must not end the node's life.
            log.exception("the heartbeat failed")
            self._tell(f"the heartbeat failed ({type(error).__name__}); the log tells more")
        return False

    async def _pause(self, socket: Socket) -> None:
        """Wait for the next heartbeat, or for the end of the connection."""
        tasks = {asyncio.ensure_future(self._sleep(HEARTBEAT_S)), asyncio.ensure_future(socket.wait_until_gone())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _disconnect(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def _tell(self, trouble: str) -> None:
        """Keep what is wrong for whoever asks, and log it once."""
        if trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble

    def _answering(self, event: str, handler: EventHandler) -> Handler:
        """The handler as the socket calls it: bounded, never raising, its answer wrapped."""

        async def answer(*arguments: Any) -> dict[str, Any] | None:
            if len(self._answers) >= MOST_AT_ONCE:
                self.refused_events += 1
                return _failed(f"too many events at once; {event} was refused, come again later")
            task = asyncio.current_task()
            assert task is not None
            self._answers.add(task)
            try:
                return acknowledgement(await handler(*arguments))
            except DetectorApplianceError as error:
                log.warning("%s: %s", event, error)
                return _failed(str(error))
            except Exception as error:
                # Supervises every handler: the Loop must get an answer, and the traceback belongs into the log.
                log.exception("unforeseen error in the event %s", event)
                return _failed(f"unforeseen error ({type(error).__name__}: {error})"[:500])
            finally:
                self._answers.discard(task)

        return answer

    async def _on_restart(self, *_arguments: Any) -> None:
        log.info("%s asks for a restart", self._client.base_url)
        self._restart()


def _failed(words: str) -> dict[str, Any]:
    return SocketResponse(success=False, error_msg=words).model_dump(mode="json")


def _as_json(argument: Any) -> Any:
    return argument.model_dump(mode="json") if isinstance(argument, BaseModel) else argument
