"""The small server of a companion: the node REST of learning-loop-node, its health, and its page."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from importlib import metadata
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from access import ASGIApp
from companions.access import guarded, policy
from companions.connection import Connection
from companions.settings import CompanionSettings
from models.errors import DetectorApplianceError, InputTooLarge, InvalidInput, LoopError, NoRoom, StorageRefused

log = logging.getLogger(__name__)

LONGEST_WORD = 4096
"""Bytes of a body that is a word or a number."""

BuildPage = Callable[[FastAPI], None]
"""Puts pages onto the application; called last, because NiceGUI mounts `/` and wraps the lifespan."""


class Companion(Protocol):
    """What runs behind the server. Its methods belong to the server's event loop."""

    connection: Connection

    async def start(self) -> None:
        """Begin to work. What raises here ends the program with its sentence."""
        ...

    async def close(self) -> None:
        """End all work within seconds, so that it can be gone on with after the next start."""
        ...

    def status(self) -> Mapping[str, Any]:
        """How it is, as JSON; strangers may read it."""
        ...


def create_app(
    settings: CompanionSettings,
    companion: Companion,
    *,
    routers: Sequence[APIRouter] = (),
    build_page: BuildPage | None = None,
) -> ASGIApp:
    """The whole companion as one ASGI application; its lifespan starts and closes `companion` and its connection."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await companion.start()
            if not settings.skip_repeat_on_start:
                await companion.connection.switch(True)
            yield
        finally:
            try:
                await companion.close()
            finally:
                await companion.connection.close()

    app = FastAPI(
        title=f"detector-appliance {settings.companion}",
        version=metadata.version("detector-appliance"),
        lifespan=lifespan,
        docs_url=None,  # their assets would come from the internet
        redoc_url=None,
    )
    app.include_router(_node_routes(settings, companion))
    for router in routers:
        app.include_router(router)
    _install_errors(app)
    if build_page is not None:
        build_page(app)
    return guarded(app, policy(settings.trusted_networks, settings.allowed_hosts))


async def read_word(request: Request) -> str:
    """A short text body, whatever its content type says (curl -d sends `urlencoded`). Raises `InputTooLarge`."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > LONGEST_WORD:
                raise InputTooLarge(f"the body has more than {LONGEST_WORD} bytes; a word is due")
    return bytes(body).decode("utf-8", "replace").strip()


async def read_switch(request: Request) -> bool:
    """`on` or `off`. Raises HTTP 400, as upstream's nodes do."""
    word = await read_word(request)
    if word not in ("on", "off"):
        raise HTTPException(400, f"{word[:60]!r} is neither on nor off")
    return word == "on"


def _node_routes(settings: CompanionSettings, companion: Companion) -> APIRouter:
    made = APIRouter()

    @made.get("/healthz")
    async def healthz() -> dict[str, Any]:
        """That it lives, and how it is.

        curl http://localhost:8024/healthz
        """
        return {"status": "ok", "loop": companion.connection.words, **companion.status()}

    @made.put("/debug_logging")
    async def debug_logging(request: Request) -> str:
        """Log everything (`on`), or as the settings say (`off`).

        curl -X PUT -d 'on' http://localhost:8024/debug_logging
        """
        on = await read_switch(request)
        logging.getLogger().setLevel("DEBUG" if on else settings.log_level)
        return "on" if on else "off"

    @made.put("/socketio")
    async def socketio(request: Request) -> str:
        """Whether the node speaks with the Loop. For tests.

        curl -X PUT -d 'off' http://localhost:8024/socketio
        """
        on = await read_switch(request)
        await companion.connection.switch(on)
        return "on" if on else "off"

    return made


_STATUS: Sequence[tuple[type[DetectorApplianceError], int]] = (
    (InputTooLarge, 413),
    (InvalidInput, 422),
    (NoRoom, 507),
    (StorageRefused, 409),
    (LoopError, 502),
    (DetectorApplianceError, 409),
)
"""The first that fits."""


def _install_errors(app: FastAPI) -> None:
    @app.exception_handler(DetectorApplianceError)
    async def _ours(_request: Request, error: DetectorApplianceError) -> JSONResponse:
        status = next(code for kind, code in _STATUS if isinstance(error, kind))
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        # Supervises every route: a bug in one must not look like silence, and its traceback belongs into the log.
        log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": f"Unforeseen error ({type(error).__name__}); the log tells more"}, 500)
