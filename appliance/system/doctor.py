"""What a doctor asks of a box that runs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from access import Reason
from appliance.api_keys import FILE_NAME as API_KEYS_FILE
from appliance.api_keys import ApiKeys
from appliance.passwords import FILE_NAME as PASSWORD_FILE
from appliance.passwords import PasswordFile
from appliance.services import Services
from appliance.settings import Settings
from appliance.system import looking, loop_check
from appliance.system.facts import AccessFacts, Facts, LoopFacts, ModelFacts, OutboxFacts
from appliance.system.findings import MEGABYTE
from appliance.vitals import Machine
from models.errors import SettingsInvalid
from models.files import FILE_SYSTEM

LATELY = 600.0
"""Seconds for which a refused robot is told of after its last try."""

MOST_REFUSED = 5

AWAY_LONG = 15.0
"""Seconds after which a Loop that does not answer is worth telling: connections break and come back."""


async def facts_of_box(services: Services) -> Facts:
    """Looks at disk and machine in a thread; asks the Loop, ten seconds long at most, where it seems to be away."""
    settings, loop = services.settings, await _loop(services)
    return await asyncio.to_thread(
        gather,
        settings,
        model=_model(services),
        loop=loop,
        outbox=_outbox(services),
        refused=_refused(services),
    )


def gather(
    settings: Settings,
    *,
    model: ModelFacts,
    loop: LoopFacts,
    outbox: OutboxFacts,
    refused: tuple[tuple[str, str], ...] = (),
    server_problem: str | None = None,
    root: Path = Path("/"),
) -> Facts:
    """All that is known of a box, given what only it, or only its folder, can say. Blocks."""
    return Facts(
        disk=looking.disk(settings.data_folder, root),
        clock=looking.clock(),
        model=model,
        floor=settings.min_free_disk_mb * MEGABYTE,
        vitals=Machine(settings.data_folder, root).look(),
        power=looking.power(root),
        edge_tpu=looking.edge_tpu(root),
        loop=loop,
        outbox=outbox,
        access=access_facts(settings, refused),
        server_problem=server_problem,
        warnings=_other_warnings(settings),
    )


def access_facts(settings: Settings, refused: tuple[tuple[str, str], ...] = ()) -> AccessFacts:
    """Who reaches the box. Reads the API keys."""
    problem, keys, password = None, 0, False
    try:
        keys = len(ApiKeys(settings.data_folder / API_KEYS_FILE).list())
        password = PasswordFile(settings.data_folder / PASSWORD_FILE, FILE_SYSTEM).load().password is not None
    except SettingsInvalid as error:
        problem = str(error)
    return AccessFacts(
        bind_host=settings.bind_host,
        trusted=tuple(settings.trusted_networks),
        credentials=keys > 0 or password or problem is not None,
        backdoor=settings.use_backdoor_controls,
        keys_problem=problem,
        refused=refused,
    )


def loop_incomplete(settings: Settings) -> bool:
    """Whether the Loop is set in part."""
    parts = (settings.loop_host, settings.loop_organization, settings.loop_project)
    return any(parts) and not all(parts)


def _other_warnings(settings: Settings) -> tuple[str, ...]:
    """Those on settings that have no finding of their own."""
    return tuple(each for each in settings.warnings if "standalone" not in each and "trusted_networks" not in each)


def _model(services: Services) -> ModelFacts:
    versions, serving = services.versions, services.supervisor.serving
    return ModelFacts(
        serving.bundle.model.version if serving is not None else None,
        starting=serving is None and versions.operation_mode == "startup" and versions.error is None,
        degraded=serving.degraded if serving is not None else None,
        error=versions.error,
    )


async def _loop(services: Services) -> LoopFacts:
    settings, how = services.settings, services.connection.condition
    host = services.connection.host
    if host is None:
        return LoopFacts(incomplete=loop_incomplete(settings))
    if how.state == "away" and how.seconds >= AWAY_LONG and services.loop is not None:
        project = services.loop.project(str(settings.loop_organization), str(settings.loop_project))
        return await loop_check.check(host, project, services.versions.scope.formats)
    update = services.versions.update
    if update.state == "waiting_for_format" and update.sentence is not None:
        return LoopFacts(host, "format", update.sentence)
    if how.state == "connected" and services.reporter is not None and services.reporter.problem is not None:
        return LoopFacts(host, "not_reported", services.reporter.problem)
    return LoopFacts(host)


def _outbox(services: Services) -> OutboxFacts:
    settings, stats = services.settings, services.outbox.stats()
    lies_here = stats.total + stats.rejected
    return OutboxFacts(
        lies_here.items,
        settings.max_outbox_size,
        lies_here.bytes,
        settings.max_outbox_mb * MEGABYTE,
        stats.rejected.items,
        services.outbox_mode() == "stopped",
    )


def _refused(services: Services) -> tuple[tuple[str, str], ...]:
    now, trusted = time.time(), {str(network) for network in services.access.policy.trusted_networks}
    return tuple(
        (each.address, each.network)
        for each in services.access.refusals.snapshot()
        if each.reason is Reason.NETWORK
        and each.network is not None
        and each.network not in trusted
        and now - each.last < LATELY
    )[:MOST_REFUSED]
