"""The one sentence of truth, and what is wrong with the way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from access import Reason, Refused
from appliance.dashboard.words import accelerator
from appliance.outbox.room import MEGABYTE
from appliance.recent import Recent
from appliance.services import Services
from appliance.system.findings import is_wide
from appliance.vitals import HOT, Vitals
from ui.ports import Condition, Severity, Trouble

REFUSED_LATELY = 600.0
"""Seconds for which a refused robot is shown after its last try."""

AWAY_LONG = 15.0
"""Seconds after which a Loop that does not answer is worth a warning."""

NETWORKS_SHOWN = 3

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "notice": 2, "good": 3}

_LOOP = {
    "standalone": "no Learning Loop",
    "connecting": "asking the Loop",
    "connected": "Loop connected",
    "away": "Loop away",
    "off": "Loop not asked",
}


def condition(services: Services, recent: Recent, vitals: Vitals, now: Callable[[], float] = time.time) -> Condition:
    """How the box is now. Asks memory only."""
    troubles = [
        *_of_models(services),
        *_of_refusals(services, now()),
        *_of_password(services),
        *_of_loop(services),
        *_of_machine(vitals, services.settings.min_free_disk_mb * MEGABYTE),
    ]
    return Condition(_sentence(services, recent), tuple(sorted(troubles, key=lambda each: _ORDER[each.severity])))


def _sentence(services: Services, recent: Recent) -> str:
    supervisor = services.supervisor
    serving = supervisor.serving
    if serving is None:
        first = "Starting" if services.versions.operation_mode == "startup" else "Not detecting"
    else:
        first = f"Detecting with model {serving.bundle.model.version} on {accelerator(serving.choice)}"
    rate = recent.rate()
    speed = f"{rate:.0f} pictures/s" if rate >= 1 or not rate else f"{60 * rate:.0f} pictures/min"
    waiting = services.outbox.stats().total.items
    stopped = ", stopped" if services.outbox_mode() == "stopped" else ""
    return " · ".join([first, speed, f"outbox {waiting} waiting{stopped}", _LOOP[services.connection.condition.state]])


def _of_models(services: Services) -> Iterator[Trouble]:
    versions, supervisor = services.versions, services.supervisor
    serving, update = supervisor.serving, versions.update
    if serving is None and versions.operation_mode != "startup":
        why = versions.error or "No model is loaded"
        yield Trouble("error", f"Nothing is detected: {why}", "Choose a model that works, or add one.", "/models")
    elif versions.error is not None:
        way_out = "What served before serves on. Choose another version, or have this one corrected."
        yield Trouble("warning", versions.error, way_out, "/models")
    if serving is not None and serving.degraded is not None:
        yield Trouble("warning", serving.degraded, "The box goes back by itself as soon as it can.")
    if update.state == "waiting_for_format" and update.sentence is not None:
        yield Trouble(
            "notice", update.sentence, "A converter has to make that format; the box takes it then.", "/models"
        )


def _of_refusals(services: Services, now: float) -> Iterator[Trouble]:
    policy = services.access.policy
    by_network: dict[str, list[Refused]] = {}
    for each in services.access.refusals.snapshot():
        lately = now - each.last < REFUSED_LATELY
        if lately and each.reason is Reason.NETWORK and each.network is not None:
            by_network.setdefault(each.network, []).append(each)
    trusted = {str(network) for network in policy.trusted_networks}
    for network, refused in list(by_network.items())[:NETWORKS_SHOWN]:
        if network in trusted:
            continue
        who = " and ".join(dict.fromkeys(each.address for each in refused[:2]))
        times = sum(each.count for each in refused)
        yield Trouble(
            "error",
            f"{who} was turned away {'once' if times == 1 else f'{times} times'}: a robot, or a stranger.",
            f"If {network} is your network, trust it: everybody in it may do everything then, without a password.",
            network=network,
        )


def _of_password(services: Services) -> Iterator[Trouble]:
    logins = services.logins
    if logins.problem is not None:
        yield Trouble("warning", logins.problem)
    elif not logins.claimed and is_wide(services.settings.bind_host):
        yield Trouble(
            "notice",
            "Nobody has set a password, so people on other machines can change nothing.",
            "Set one here, or with the one-time code from the log where they are.",
            "/settings#access",
        )


def _of_loop(services: Services) -> Iterator[Trouble]:
    how = services.connection.condition
    if how.state == "away" and how.seconds > AWAY_LONG:
        because = f": {how.because}" if how.because else ""
        yield Trouble(
            "warning",
            f"The Learning Loop at {services.connection.host} does not answer{because}",
            "Detecting goes on and pictures wait. Look at the network of this box, and at the Loop.",
        )
    elif services.reporter is not None and services.reporter.problem is not None and how.state == "connected":
        yield Trouble("warning", f"The Learning Loop is not told how this box is: {services.reporter.problem}")
    rejected = services.outbox.stats().rejected.items
    if rejected:
        pictures = "One picture was" if rejected == 1 else f"{rejected} pictures were"
        yield Trouble(
            "notice", f"{pictures} rejected by the Learning Loop.", "It says why with each of them.", "/outbox"
        )


def _of_machine(vitals: Vitals, floor: int) -> Iterator[Trouble]:
    if vitals.free_bytes is not None and vitals.free_bytes < 2 * floor:
        yield Trouble(
            "error" if vitals.free_bytes < floor else "warning",
            f"The disk is nearly full: {vitals.free_bytes / MEGABYTE:.0f} MB are free.",
            "Delete models or pictures that are not needed; below the floor nothing is kept any more.",
            "/models",
        )
    if vitals.temperature is not None and vitals.temperature >= HOT:
        yield Trouble(
            "warning", f"The box is hot: {vitals.temperature:.0f} °C.", "It slows itself down. Give it air or shade."
        )
    if vitals.under_voltage:
        yield Trouble(
            "warning", "The power supply is too weak (under-voltage).", "Take a stronger one, or a shorter cable."
        )
