"""What is wrong with a box, and what to do about it: pure functions over what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from ipaddress import ip_address
from typing import Literal

from appliance.clock import BUILT
from appliance.system.facts import AccessFacts, Clock, Disk, Facts, LoopFacts, LoopProblem, OutboxFacts, Power
from appliance.vitals import HOT, Vitals

Severity = Literal["error", "warning", "notice"]

ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "notice": 2}

MEGABYTE = 1_000_000

NEARLY = 0.9
"""Share of a bound of the outbox from which it is worth saying so."""

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems that are gone after a restart of the machine."""

ON_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})

MANY_ADDRESSES = {4: 16, 6: 48}
"""Length of the prefix below which a trusted network is wider than any site's own."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. `code` is for machines and does not change."""

    code: str
    severity: Severity
    sentence: str
    to_do: str


def findings(facts: Facts) -> list[Finding]:
    """All that is wrong, the worst first."""
    found = [
        *of_server(facts.server_problem),
        *of_model(facts),
        *of_disk(facts.disk, facts.floor),
        *of_clock(facts.clock),
        *of_heat(facts.vitals, facts.power),
        *of_loop(facts.loop),
        *of_outbox(facts.outbox),
        *of_access(facts.access),
        *(
            Finding("settings", "warning", warning, "`appliance settings` shows what is in force.")
            for warning in facts.warnings
        ),
    ]
    return sorted(found, key=lambda each: ORDER[each.severity])


def is_well(found: list[Finding]) -> bool:
    """Whether there is nothing but what is good to know."""
    return all(each.severity == "notice" for each in found)


def of_server(problem: str | None) -> Iterator[Finding]:
    """A server that holds the folder and does not answer."""
    if problem is not None:
        yield Finding(
            "server_silent",
            "error",
            f"A server has the data folder, but does not answer: {problem}",
            "Look at its log; end the process if it hangs, and start it again.",
        )


def of_model(facts: Facts) -> Iterator[Finding]:
    """No model, one that runs slower than it could, and an Edge TPU that nothing can drive."""
    model, edge_tpu = facts.model, facts.edge_tpu
    if model.name is None and not model.starting:
        why = f": {model.error}" if model.error else "."
        yield Finding(
            "no_model",
            "error",
            f"No model is loaded, so nothing is detected{why}",
            "Choose another version (`appliance models use VERSION`, or on /models), or add one: `appliance models add ZIP`.",
        )
    elif model.error is not None:
        yield Finding(
            "model_refused",
            "warning",
            model.error,
            "What served before serves on. Choose another version, or have this one corrected and uploaded again.",
        )
    if edge_tpu.devices and not edge_tpu.library:
        where = ", ".join(edge_tpu.devices)
        yield Finding(
            "libedgetpu_missing",
            "error",
            f"An Edge TPU is plugged in ({where}), but libedgetpu.so.1, which drives it, is not installed.",
            "Install Google's package libedgetpu1-std, then `appliance doctor` once more.",
        )
    elif model.degraded is not None:
        yield Finding(
            "accelerator_degraded",
            "warning",
            model.degraded,
            "The box goes back by itself when the accelerator answers: look at its plug, its power, and whether another "
            "program uses it.",
        )


def of_disk(disk: Disk, floor: int) -> Iterator[Finding]:
    """Nothing can be written, too little room, or a disk that forgets."""
    if disk.problem is not None:
        yield Finding(
            "data_not_writable",
            "error",
            f"Nothing can be written to the data folder {disk.folder}: {disk.problem}",
            "Give it to the account that the box runs as, and see that its disk is mounted for writing and not worn out; "
            "or name another one with --data-dir or DATA_FOLDER.",
        )
    if disk.free is not None and disk.free < 2 * floor:
        short = disk.free < floor
        yield Finding(
            "disk_low",
            "error" if short else "warning",
            f"The disk is nearly full: {disk.free / MEGABYTE:.0f} MB are free, and {floor / MEGABYTE:.0f} MB stay free.",
            "Nothing is kept any more until there is room: delete models or pictures that are not needed."
            if short
            else "Delete models or pictures that are not needed; lower keep_model_versions or max_outbox_mb.",
        )
    if disk.file_system in IN_MEMORY:
        yield Finding(
            "data_in_memory",
            "error",
            f"The data folder {disk.folder} lies in memory ({disk.file_system}): models and pictures are gone when the "
            "machine restarts.",
            "Name a folder on a disk with --data-dir or DATA_FOLDER.",
        )
    elif disk.file_system in ON_A_NETWORK:
        yield Finding(
            "data_on_network",
            "notice",
            f"The data folder {disk.folder} lies on a network ({disk.file_system}), which may go away and lock badly.",
            "A folder on a disk of this machine is safer.",
        )


def of_clock(clock: Clock) -> Iterator[Finding]:
    """A clock that was never set, or that nobody keeps right."""
    if clock.now < BUILT:
        shown = datetime.fromtimestamp(clock.now, timezone.utc)
        yield Finding(
            "clock_not_set",
            "error",
            f"The clock is wrong: it shows {shown:%Y-%m-%d}. Certificates seem invalid, and pictures get wrong times.",
            "Connect the box to a time server (`timedatectl set-ntp true`), or give it a battery-backed clock.",
        )
    elif clock.kept is False:
        yield Finding(
            "clock_not_kept",
            "notice",
            "No time server keeps the clock right, as far as this machine knows.",
            "`timedatectl set-ntp true` has one asked; in a container the machine around it may do so.",
        )


def of_heat(vitals: Vitals, power: Power) -> Iterator[Finding]:
    """Too hot, slowed down, or fed too weakly."""
    if vitals.temperature is not None and vitals.temperature >= HOT:
        yield Finding(
            "hot",
            "warning",
            f"The machine is hot: {vitals.temperature:.0f} °C. It slows itself down.",
            "Give it air, shade or a heat sink.",
        )
    if power.under_voltage or vitals.under_voltage:
        yield Finding(
            "under_voltage",
            "error",
            "The power supply is too weak: under-voltage now. Disks and accelerators fail in odd ways.",
            "Take a stronger supply, or a shorter and thicker cable.",
        )
    elif power.under_voltage_before:
        yield Finding(
            "under_voltage_before",
            "warning",
            "The power supply was too weak at some time since the machine was switched on.",
            "Take a stronger supply, or a shorter and thicker cable.",
        )
    if power.throttled:
        yield Finding(
            "throttled",
            "warning",
            "The machine slows its processor down, because of heat or weak power.",
            "Give it air, and a stronger supply.",
        )
    elif power.throttled_before:
        yield Finding(
            "throttled_before",
            "notice",
            "The machine has slowed its processor down at some time since it was switched on.",
            "If detecting is slower than it should be: give it air, and a stronger supply.",
        )


_LOOP: dict[LoopProblem, tuple[str, Severity, str, str]] = {
    "unreachable": (
        "loop_unreachable",
        "error",
        "The Learning Loop at {host} does not answer: {because}",
        "Detecting goes on, and pictures wait. Look at LOOP_HOST, the network of this box, and at the Loop.",
    ),
    "busy": (
        "loop_busy",
        "warning",
        "The Learning Loop at {host} asks to come again later: {because}",
        "It is asked again by itself.",
    ),
    "login": (
        "loop_login",
        "error",
        "The Learning Loop at {host} does not accept the login: {because}",
        "Correct LOOP_USERNAME and LOOP_PASSWORD, and restart the box.",
    ),
    "project": (
        "loop_project",
        "error",
        "The Learning Loop at {host} has no such project: {because}",
        "Correct LOOP_ORGANIZATION and LOOP_PROJECT, or make the project there.",
    ),
    "refused": (
        "loop_refused",
        "error",
        "The Learning Loop at {host} does not want what it is asked: {because}",
        "Its words should say why; the versions of the box and the Loop may not fit.",
    ),
    "format": (
        "loop_format_missing",
        "warning",
        "{because}",
        "A converter has to make that format; the box takes it as soon as it is there.",
    ),
    "not_reported": (
        "loop_not_reported",
        "warning",
        "The Learning Loop at {host} is not told how this box is: {because}",
        "It is told again by itself; if that lasts, look at its log.",
    ),
}


def of_loop(loop: LoopFacts) -> Iterator[Finding]:
    """The Loop is away, does not let us in, or lacks what we need."""
    if loop.incomplete:
        yield Finding(
            "loop_incomplete",
            "warning",
            "The Learning Loop is set in part only: this box stays standalone.",
            "Set LOOP_HOST, LOOP_ORGANIZATION and LOOP_PROJECT, or none of them.",
        )
    if loop.problem is not None:
        code, severity, sentence, to_do = _LOOP[loop.problem]
        yield Finding(
            code, severity, sentence.format(host=loop.host, because=loop.because or "no reason given."), to_do
        )


def of_outbox(outbox: OutboxFacts) -> Iterator[Finding]:
    """Near its bounds, or with pictures that the Loop did not want."""
    if outbox.problem is not None:
        yield Finding(
            "outbox_unreadable", "error", outbox.problem, "Look at the disk; `appliance outbox list` tells more."
        )
        return
    shares = [
        used / most for used, most in ((outbox.items, outbox.max_items), (outbox.bytes, outbox.max_bytes)) if most > 0
    ]
    share = max(shares, default=0.0)
    if share >= NEARLY:
        stopped = " Sending is stopped." if outbox.stopped else ""
        yield Finding(
            "outbox_full" if share >= 1 else "outbox_nearly_full",
            "warning",
            f"The outbox is {'full' if share >= 1 else 'nearly full'}: {outbox.items} of {outbox.max_items} pictures, "
            f"{outbox.bytes / MEGABYTE:.0f} of {outbox.max_bytes / MEGABYTE:.0f} MB.{stopped}",
            "Uploads are refused when it is full, and automatic picks make room before. Have it sent, delete pictures, or "
            "raise max_outbox_size and max_outbox_mb.",
        )
    if outbox.rejected:
        pictures = "One picture was" if outbox.rejected == 1 else f"{outbox.rejected} pictures were"
        yield Finding(
            "outbox_rejected",
            "notice",
            f"{pictures} rejected by the Learning Loop.",
            "`appliance outbox list --rejected`, or /outbox, shows its words with each; send them again or delete them.",
        )


def of_access(access: AccessFacts) -> Iterator[Finding]:
    """Doors that are open too far, and people who stand before closed ones."""
    if access.keys_problem is not None:
        yield Finding("api_keys_unreadable", "error", access.keys_problem, "Until then no API key lets anybody in.")
    if is_wide(access.bind_host) and not access.credentials:
        yield Finding(
            "open_without_password",
            "warning",
            f"The box listens on the network ({access.bind_host}), but has neither a password nor an API key: nobody can "
            "steer it from there but trusted networks.",
            "Open the dashboard on the machine itself or in a trusted network and claim the box, or make a key: "
            "`appliance keys create NAME`.",
        )
    for network in access.trusted:
        if network.prefixlen == 0:
            yield Finding(
                "trusts_everybody",
                "error",
                f"trusted_networks holds {network}: everybody who reaches this box may do everything, without a password.",
                "Name the robot's own network alone, such as 192.168.4.0/24.",
            )
        elif network.prefixlen < MANY_ADDRESSES[network.version] and not network.is_private:
            yield Finding(
                "trusts_many",
                "warning",
                f"trusted_networks holds {network}, {network.num_addresses:,} addresses of the public internet.",
                "Name the robot's own network alone, such as 192.168.4.0/24.",
            )
    if access.backdoor:
        yield Finding(
            "backdoor_open",
            "warning",
            "use_backdoor_controls is on: POST /reset deletes all data.",
            "It is for tests. Unset USE_BACKDOOR_CONTROLS.",
        )
    for address, network_name in access.refused:
        yield Finding(
            "robot_refused",
            "warning",
            f"{address} was turned away lately: a robot, or a stranger.",
            f"If {network_name} is your network, trust it: TRUSTED_NETWORKS={network_name}, or on the dashboard.",
        )


def is_wide(bind_host: str) -> bool:
    """Whether a server on this address is reached from other machines."""
    try:
        return not ip_address(bind_host.strip("[]")).is_loopback
    except ValueError:
        return bind_host.lower() != "localhost"
