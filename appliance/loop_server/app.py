"""Composition of the embedded loop: builds its services and mounts what offers them. No logic."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from importlib import metadata

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from appliance.access import Access, AccessMiddleware, AccessPolicy, ASGIApp, Refusals, own_names
from appliance.api.bodies import MIB, Budget
from appliance.loop_server import errors
from appliance.loop_server.blobs import Blobs, Folder
from appliance.loop_server.db import Database
from appliance.loop_server.rights import LOOP_TABLE
from appliance.loop_server.routes import status
from appliance.loop_server.services import LoopServices
from appliance.loop_server.settings import LoopServerSettings
from models.images import ImageLimits

__all__ = ["LoopServerSettings", "build", "create_loop"]

BODIES_IN_MEMORY = 1024 * MIB
"""Request bodies that may be in memory at once."""

ROUTERS: tuple[Callable[[LoopServices], APIRouter], ...] = (status.router,)
"""In the order in which they are asked."""


def build(settings: LoopServerSettings) -> LoopServices:
    """Every service, not started yet. Makes the data folder. Raises `SettingsInvalid`."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    return LoopServices(
        settings=settings,
        database=Database(settings.database),
        blobs=Blobs(Folder(settings.data_folder / "blobs")),
        access=Access(policy_of(settings), Refusals(time.time)),
        budget=Budget(BODIES_IN_MEMORY),
        image_limits=ImageLimits(settings.max_image_mb * MIB, settings.max_image_megapixels * 1_000_000),
        now=lambda: datetime.now(timezone.utc),
    )


def policy_of(settings: LoopServerSettings) -> AccessPolicy:
    """Who may do what."""
    return AccessPolicy(
        LOOP_TABLE,
        lambda _key: None,
        trusted_networks=settings.trusted_networks,
        trusted_proxies=settings.trusted_proxies,
        allowed_hosts=settings.allowed_hosts,
        own_names=own_names(socket.gethostname()),
    )


def rest(services: LoopServices) -> FastAPI:
    """All HTTP routes, and the services' life as the application's lifespan."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await services.start()
            yield
        finally:
            await services.close()

    app = FastAPIOffline(
        title="embedded loop",
        version=metadata.version("detector-appliance"),
        description="A small Learning Loop: projects, images, annotations, models and trainings.",
        lifespan=lifespan,
    )
    for router in ROUTERS:
        app.include_router(router(services))
    errors.install(app)
    return app


def guarded(app: FastAPI, services: LoopServices) -> ASGIApp:
    """The routes with access checked in front of them."""
    return AccessMiddleware(app, services.access)


def create_loop(settings: LoopServerSettings) -> ASGIApp:
    """The whole loop as one ASGI application, with a lifespan. Raises `SettingsInvalid`."""
    services = build(settings)
    return guarded(rest(services), services)
