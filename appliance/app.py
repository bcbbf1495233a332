"""Composition: builds every service and hands each what it needs. No logic."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from importlib import metadata

import socketio
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from access import Access, AccessMiddleware, AccessPolicy, ASGIApp, Refusals, Scope, SocketPlaces, own_names
from appliance import events
from appliance.adopting.adoption import Adoption
from appliance.api import detect, entrance, errors, health, node, upload
from appliance.api.bodies import MIB, Budget, WholeBodies
from appliance.api.v1 import box, outbox_export, system, updates
from appliance.api.v1 import logins as logins_api
from appliance.api.v1 import models as models_api
from appliance.api.v1 import outbox as outbox_api
from appliance.api.v1 import settings as settings_api
from appliance.api_keys import FILE_NAME as API_KEYS_FILE
from appliance.api_keys import ApiKeys
from appliance.budgets import PickBudgets
from appliance.connection import LoopConnection
from appliance.dashboard import Dashboard
from appliance.detecting import Detecting
from appliance.device_table import DEVICE_TABLE, WAY_IN
from appliance.inference.choosing import Chooser
from appliance.inference.supervisor import InferenceLimits, Supervisor
from appliance.logins import Logins
from appliance.metrics import Metrics
from appliance.outbox.queue import Outbox
from appliance.outbox.room import OutboxBounds
from appliance.outbox.uploader import Uploader
from appliance.outbox.writer import AutomaticPicks
from appliance.passwords import FILE_NAME as PASSWORD_FILE
from appliance.passwords import PasswordFile
from appliance.readings import readings
from appliance.relevance import RelevanceFilter
from appliance.reporting import CYCLE_SECONDS, Reporter
from appliance.services import Services, image_limits
from appliance.sessions import FILE_NAME as SESSIONS_FILE
from appliance.sessions import Sessions
from appliance.settings import Settings
from appliance.versions.scope import runnable_formats, scope_of
from appliance.versions.service import Bounds, Versions
from appliance.versions.state import STATE_FILE
from models.files import FILE_SYSTEM
from models.loop.client import LoopClient
from models.store import ModelStore
from models.zoo import seed_folder
from ui import mount

log = logging.getLogger(__name__)

MEGABYTE = 1_000_000

BODIES_IN_MEMORY = 512 * MIB
"""Request bodies that may be in memory at once."""


def build(
    settings: Settings, reread: Callable[[], Settings] | None = None, restart: Callable[[], None] | None = None
) -> Services:
    """Every service, not started yet. `reread` reads the settings again, for `soft_reload`; `restart` see `Services`."""
    data, limits = settings.data_folder, image_limits(settings)
    supervisor = Supervisor(
        Chooser(data / "cache", settings.runtime, FILE_SYSTEM, settings.load_deadline_s),
        data / "cache",
        inference_limits(settings),
    )
    loop, connection = loop_client(settings), LoopConnection(None if settings.standalone else settings.loop_host)
    project = loop.project(str(settings.loop_organization), str(settings.loop_project)) if loop is not None else None
    store = ModelStore(data / "models", [seed_folder()], free_space_floor=settings.min_free_disk_mb * MEGABYTE)
    scope = scope_of(settings)
    adopted = Adoption(data, store, runnable_formats(scope), FILE_SYSTEM).run()
    versions = Versions(
        store,
        supervisor,
        scope,
        data / STATE_FILE,
        FILE_SYSTEM,
        appliance_version=metadata.version("detector-appliance"),
        default_mode=settings.version_control_default,
        loop=project,
        connection=connection,
        bounds=Bounds(
            settings.keep_model_versions, settings.max_models_mb * MEGABYTE, settings.min_free_disk_mb * MEGABYTE
        ),
    )
    supervisor.on_unfit = versions.unfit
    outbox = Outbox(
        data / "outbox",
        outbox_bounds(settings),
        lambda: datetime.now(timezone.utc),
        FILE_SYSTEM,
    )
    picks = AutomaticPicks(outbox)
    relevance = RelevanceFilter(
        settings.min_uncertain_threshold,
        settings.max_uncertain_threshold,
        time.monotonic,
        max_cameras=settings.max_cameras,
    )
    budgets = PickBudgets(settings.max_picks_per_camera_per_hour, time.monotonic, max_cameras=settings.max_cameras)
    detecting = Detecting(supervisor, relevance, budgets, outbox, picks, limits=limits)
    logins = Logins(
        PasswordFile(data / PASSWORD_FILE, FILE_SYSTEM),
        Sessions(data / SESSIONS_FILE, FILE_SYSTEM, time.time),
        time.monotonic,
        announce,
    )
    services = Services(
        settings=settings,
        supervisor=supervisor,
        versions=versions,
        detecting=detecting,
        outbox=outbox,
        picks=picks,
        access=Access(policy_of(settings, logins), Refusals(time.time)),
        logins=logins,
        metrics=Metrics(),
        budget=Budget(BODIES_IN_MEMORY),
        relevance=relevance,
        pick_budgets=budgets,
        adopted=adopted,
        connection=connection,
        loop=loop,
        reread=reread or (lambda: settings),
        apply=apply,
        restart=restart,
    )
    if project is not None:
        services.uploader = Uploader(outbox, project, max_mbit=settings.upload_max_mbit)
        services.reporter = Reporter(project, services.detector_status, settings.sync_cycles * CYCLE_SECONDS)
    services.metrics.read_from(lambda: readings(services))
    return services


def announce(sentence: str) -> None:
    """Tell whoever starts the box, in a terminal or in the log of a service."""
    log.warning("%s", sentence)
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def loop_client(settings: Settings) -> LoopClient | None:
    """What speaks to the Loop; None for a standalone box, which contacts nobody. Raises `SettingsInvalid`."""
    if settings.standalone:
        return None
    password = settings.loop_password
    return LoopClient(
        str(settings.loop_host),
        username=settings.loop_username,
        password=password.get_secret_value() if password is not None else None,
        ssl_cert_path=settings.loop_ssl_cert_path,
    )


def outbox_bounds(settings: Settings) -> OutboxBounds:
    """How much may wait for the Loop."""
    return OutboxBounds(
        settings.max_outbox_size, settings.max_outbox_mb * MEGABYTE, settings.min_free_disk_mb * MEGABYTE
    )


def inference_limits(settings: Settings) -> InferenceLimits:
    """What the supervisor is held to."""
    limits = image_limits(settings)
    return InferenceLimits(
        queue_depth=settings.queue_depth,
        inference_deadline=settings.inference_deadline_s,
        load_deadline=settings.load_deadline_s,
        max_image_bytes=limits.max_bytes,
        max_image_pixels=limits.max_pixels,
        floor=settings.min_uncertain_threshold,
        exclusive=settings.exclusive_model_build,
    )


LIVE = frozenset(
    {
        "trusted_networks",
        "trusted_proxies",
        "allowed_hosts",
        "open_detection",
        "min_uncertain_threshold",
        "max_uncertain_threshold",
        "max_picks_per_camera_per_hour",
        "camera_names",
        "max_outbox_size",
        "max_outbox_mb",
        "queue_depth",
        "max_wait_socketio_s",
        "max_wait_rest_s",
        "inference_deadline_s",
        "load_deadline_s",
        "exclusive_model_build",
        "runtime",
        "log_level",
    }
)
"""Settings that a reload applies; the others count from the next start on."""


def apply(services: Services, new: Settings) -> None:
    """Put settings that were read again into force, as far as that goes while the box runs."""
    old = services.settings
    changed = {name for name in type(new).model_fields if getattr(new, name) != getattr(old, name)}
    told, services.due = services.due, {name: new.model_dump(mode="json")[name] for name in sorted(changed - LIVE)}
    if due := [name for name in services.due if name not in told]:
        log.warning("a restart is due for the new values of %s", ", ".join(due))
    kept = {name: getattr(old, name) for name in type(new).model_fields if name not in LIVE}
    services.settings = settings = new.model_copy(update=kept)
    services.access.policy = policy_of(settings, services.logins)
    services.supervisor.hold_to(inference_limits(settings), settings.runtime)
    services.relevance.set_thresholds(settings.min_uncertain_threshold, settings.max_uncertain_threshold)
    services.outbox.hold_to(outbox_bounds(settings))
    services.pick_budgets.set_per_camera(settings.max_picks_per_camera_per_hour)
    if "log_level" in changed:
        logging.getLogger().setLevel(settings.log_level)


def policy_of(settings: Settings, logins: Logins) -> AccessPolicy:
    """Who may do what."""
    return AccessPolicy(
        DEVICE_TABLE,
        WAY_IN,
        keys=ApiKeys(settings.data_folder / API_KEYS_FILE, FILE_SYSTEM).verify,
        trusted_networks=settings.trusted_networks,
        trusted_proxies=settings.trusted_proxies,
        allowed_hosts=settings.allowed_hosts,
        own_names=own_names(settings.node_name) | own_names(socket.gethostname()),
        open_detection=settings.open_detection,
        recognise=logins.recognise,
        remark=logins.remark,
    )


def rest(services: Services) -> FastAPI:
    """All HTTP routes, and the services' life as the application's lifespan."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await services.start()
            yield
        finally:
            await services.close()

    app = FastAPIOffline(
        title="detector-appliance",
        version=metadata.version("detector-appliance"),
        description="Looks at pictures and says what is in them. Speaks the API of a Learning Loop detector node.",
        lifespan=lifespan,
    )
    for made in (
        detect,
        upload,
        node,
        health,
        models_api,
        outbox_api,
        outbox_export,
        updates,
        box,
        system,
        settings_api,
    ):
        app.include_router(made.router(services))
    app.include_router(logins_api.router(services.logins))
    app.include_router(entrance.router(services.logins, services.settings.node_name))
    errors.install(app)
    return app


def guarded(app: FastAPI, services: Services) -> ASGIApp:
    """The routes with Socket.IO beside them, and access checked in front of everything."""
    sockets = events.server(services)
    with_sockets = socketio.ASGIApp(sockets, other_asgi_app=app, socketio_path=events.PATH)
    whole = WholeBodies(with_sockets, f"/{events.PATH}", events.MAX_MESSAGE, services.budget)
    bounded = SocketPlaces(whole, services.access, events.PATH, sockets.environ, events.PLACES)

    def way_in(scope: Scope) -> str | None:
        return entrance.entrance(services.logins, scope)

    return AccessMiddleware(bounded, services.access, entrance=way_in)


def create_app(
    settings: Settings, reread: Callable[[], Settings] | None = None, restart: Callable[[], None] | None = None
) -> ASGIApp:
    """The whole box as one ASGI application; `reread` and `restart` as for `build`."""
    services = build(settings, reread, restart)
    app = rest(services)
    # Last: it mounts `/` and wraps the lifespan.
    mount.run_with(app, Dashboard(services))
    return guarded(app, services)
