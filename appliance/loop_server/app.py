"""Composition of the embedded loop: builds its services and mounts what offers them. No logic."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from importlib import metadata

import socketio
from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from access import (
    Access,
    AccessMiddleware,
    AccessPolicy,
    ASGIApp,
    Recognise,
    Refusals,
    SocketPlaces,
    WayIn,
    own_names,
)
from appliance.api.bodies import MIB, Budget, WholeBodies
from appliance.loop_server import errors, events, test_data
from appliance.loop_server.blobs import Blobs
from appliance.loop_server.db import Database
from appliance.loop_server.logins import Logins
from appliance.loop_server.nodes import Nodes
from appliance.loop_server.remote_blobs import storage_at
from appliance.loop_server.rights import LOOP_TABLE
from appliance.loop_server.routes import (
    datasets,
    deployment,
    detectors,
    generator,
    images,
    login,
    models,
    nodes,
    projects,
    status,
    trainings,
    users,
)
from appliance.loop_server.services import INCOMING, LoopServices
from appliance.loop_server.settings import LoopServerSettings
from appliance.loop_server.trainings import Trainings
from appliance.loop_server.users import Users
from appliance.throttle import Throttle
from models.images import ImageLimits

__all__ = ["LoopServerSettings", "build", "create_loop"]

BODIES_IN_MEMORY = 1024 * MIB
"""Request bodies that may be in memory at once."""

ROUTERS: tuple[Callable[[LoopServices], APIRouter], ...] = (
    images.router,  # first: trainers ask it for every picture, and each router before it takes its time
    status.router,
    login.router,
    users.router,
    projects.router,
    images.upload_router,
    datasets.router,
    models.router,
    deployment.router,
    detectors.router,
    trainings.router,
    nodes.router,
    generator.router,
    models.upload_router,  # last: it takes any word as the name of a format
)
"""In the order in which they are asked."""

WAY_IN = WayIn(
    "Otherwise log in: by POST /api/login, or with user name and password as HTTP Basic.", 'Basic realm="loop"'
)


def build(settings: LoopServerSettings, announce: Callable[[str], None] | None = None) -> LoopServices:
    """Every service, not started yet. Makes the data folder. Raises `SettingsInvalid`."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    users_of_the_loop = Users(database, _now)
    logins = Logins(users_of_the_loop, time.time)
    sockets = events.sockets()
    connected = Nodes(database, events.NodeWire(sockets), _now)
    return LoopServices(
        settings=settings,
        database=database,
        blobs=Blobs(storage_at(settings.blobs, settings.data_folder / INCOMING)),
        users=users_of_the_loop,
        logins=logins,
        access=Access(policy_of(settings, logins.recognise), Refusals(time.time)),
        open_requests=Throttle(settings.open_requests_per_minute, time.monotonic),
        open_megabytes=Throttle(settings.open_mb_per_minute, time.monotonic),
        budget=Budget(BODIES_IN_MEMORY),
        image_limits=ImageLimits(settings.max_image_mb * MIB, settings.max_image_megapixels * 1_000_000),
        nodes=connected,
        trainings=Trainings(database, connected, _now),
        sockets=sockets,
        now=_now,
        announce=announce or _on_stdout,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _on_stdout(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def policy_of(settings: LoopServerSettings, recognise: Recognise) -> AccessPolicy:
    """Who may do what."""
    return AccessPolicy(
        LOOP_TABLE,
        WAY_IN,
        trusted_networks=settings.trusted_networks,
        trusted_proxies=settings.trusted_proxies,
        allowed_hosts=settings.allowed_hosts,
        own_names=own_names(socket.gethostname()),
        open_detection=False,
        recognise=recognise,
    )


def rest(services: LoopServices) -> FastAPI:
    """All HTTP routes, and the services' life as the application's lifespan."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await services.start()
            if services.settings.test_data:
                await test_data.prepare(services)
            yield
        finally:
            await services.close()

    app = FastAPIOffline(
        title="embedded loop",
        version=metadata.version("detector-appliance"),
        description="A small Learning Loop: projects, images, annotations, models and trainings.",
        lifespan=lifespan,
    )
    app.state.budget = services.budget
    for router in ROUTERS:
        app.include_router(router(services))
    errors.install(app)
    return app


def guarded(app: FastAPI, services: LoopServices) -> ASGIApp:
    """The routes with Socket.IO beside them, and access checked in front of everything."""
    events.register(services.sockets, services)
    with_sockets = socketio.ASGIApp(services.sockets, other_asgi_app=app, socketio_path=events.PATH)
    whole = WholeBodies(with_sockets, f"/{events.PATH}", events.MAX_MESSAGE, services.budget)
    bounded = SocketPlaces(whole, services.access, events.PATH, services.sockets.environ, events.PLACES)
    return AccessMiddleware(bounded, services.access, services.logins.prepare)


def create_loop(settings: LoopServerSettings) -> ASGIApp:
    """The whole loop as one ASGI application, with a lifespan. Raises `SettingsInvalid`."""
    services = build(settings)
    return guarded(rest(services), services)
