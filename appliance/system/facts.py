"""What is known of a box when somebody asks what is wrong with it. Values; None where it is not known."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from appliance.vitals import Vitals

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Power:
    """What the firmware of a Raspberry Pi says: now, and at any time since it was switched on."""

    under_voltage: bool = False
    throttled: bool = False
    under_voltage_before: bool = False
    throttled_before: bool = False


@dataclass(frozen=True)
class Disk:
    """The disk of the data folder, bytes. `problem` is why nothing can be written there."""

    folder: str
    total: int | None = None
    free: int | None = None
    file_system: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Clock:
    """`now` is seconds since 1970, `kept` whether a time server keeps it right."""

    now: float
    kept: bool | None = None


@dataclass(frozen=True)
class ModelFacts:
    """`name` is the model that serves, or would; `starting`: it is on its way. `degraded` and `error` are sentences."""

    name: str | None
    starting: bool = False
    degraded: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class EdgeTpu:
    """Where Edge TPUs are plugged in, and whether the library that drives them is installed."""

    devices: tuple[str, ...] = ()
    library: bool = True


LoopProblem = Literal["unreachable", "busy", "login", "project", "refused", "format", "not_reported"]


@dataclass(frozen=True)
class LoopFacts:
    """`host` is None for a standalone box. `problem` is what is wrong with the Loop, `because` its words.

    `incomplete`: some of host, organization and project are set, but not all.
    """

    host: str | None = None
    problem: LoopProblem | None = None
    because: str = ""
    incomplete: bool = False


@dataclass(frozen=True)
class OutboxFacts:
    """What lies in the outbox, and how much may. `problem` is why it could not be looked at."""

    items: int = 0
    max_items: int = 0
    bytes: int = 0
    max_bytes: int = 0
    rejected: int = 0
    stopped: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class AccessFacts:
    """Who reaches the box. `credentials`: whether there is any password or key with which to steer it from elsewhere."""

    bind_host: str = "127.0.0.1"
    trusted: tuple[Network, ...] = ()
    credentials: bool = True
    backdoor: bool = False
    keys_problem: str | None = None
    refused: tuple[tuple[str, str], ...] = ()
    """Address and network of whoever was turned away lately for coming from outside."""


@dataclass(frozen=True)
class Facts:
    """All of it. `floor` is how many bytes of the disk stay free."""

    disk: Disk
    clock: Clock
    model: ModelFacts
    floor: int = 0
    vitals: Vitals = field(default_factory=Vitals)
    power: Power = field(default_factory=Power)
    edge_tpu: EdgeTpu = field(default_factory=EdgeTpu)
    loop: LoopFacts = field(default_factory=LoopFacts)
    outbox: OutboxFacts = field(default_factory=OutboxFacts)
    access: AccessFacts = field(default_factory=AccessFacts)
    server_problem: str | None = None
    warnings: tuple[str, ...] = ()
