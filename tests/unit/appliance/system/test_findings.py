"""What a doctor says of a box, case by case."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from appliance.clock import BUILT
from appliance.system.facts import (
    AccessFacts,
    Clock,
    Disk,
    EdgeTpu,
    Facts,
    LoopFacts,
    LoopProblem,
    ModelFacts,
    OutboxFacts,
    Power,
)
from appliance.system.findings import findings, is_well, is_wide
from appliance.vitals import Vitals

GB = 10**9

WELL = Facts(
    disk=Disk("/srv/detector", 32 * GB, 8 * GB, "ext4"),
    clock=Clock(BUILT + 1e6, kept=True),
    model=ModelFacts("1.3"),
    floor=200_000_000,
    vitals=Vitals(cpu=20.0, memory=30.0, temperature=55.0, free_bytes=8 * GB),
    edge_tpu=EdgeTpu(("/dev/apex_0",), library=True),
    loop=LoopFacts("loop.example"),
    outbox=OutboxFacts(12, 1000, 3_000_000, 2 * GB),
    access=AccessFacts("0.0.0.0", (ip_network("192.168.4.0/24"),), credentials=True),
)


def codes(**changes: object) -> list[str]:
    """What is found of the box that is well but for these."""
    return [each.code for each in findings(replace(WELL, **changes))]  # type: ignore[arg-type]


def test_a_box_that_is_well_has_no_findings() -> None:
    assert findings(WELL) == []
    assert is_well([])


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (ModelFacts(None), "no_model"),
        (ModelFacts(None, error="Version 1.4 does not load."), "no_model"),
        (ModelFacts("1.3", error="Version 1.4 does not load."), "model_refused"),
        (ModelFacts("1.3", degraded="It runs on the CPU: the Edge TPU is gone."), "accelerator_degraded"),
    ],
)
def test_models(model: ModelFacts, code: str) -> None:
    [found] = findings(replace(WELL, model=model))

    assert found.code == code
    for sentence in (model.error, model.degraded):
        assert sentence is None or sentence in found.sentence


def test_a_box_that_starts_has_no_model_yet_and_that_is_well() -> None:
    assert codes(model=ModelFacts(None, starting=True)) == []


def test_an_edge_tpu_without_its_library_is_why_the_box_is_slow() -> None:
    facts = replace(
        WELL,
        edge_tpu=EdgeTpu(("/sys/bus/usb/devices/2-1",), library=False),
        model=ModelFacts("1.3", degraded="On CPU."),
    )

    [found] = findings(facts)

    assert (found.code, found.severity) == ("libedgetpu_missing", "error")
    assert "/sys/bus/usb/devices/2-1" in found.sentence
    assert "libedgetpu1-std" in found.to_do


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"problem": "Read-only file system."}, ["data_not_writable"]),
        ({"free": 399_000_000}, ["disk_low"]),
        ({"free": 401_000_000}, []),
        ({"free": None, "total": None, "file_system": ""}, []),
        ({"file_system": "tmpfs"}, ["data_in_memory"]),
        ({"file_system": "nfs4"}, ["data_on_network"]),
    ],
)
def test_disks(change: dict[str, object], expected: list[str]) -> None:
    assert codes(disk=replace(WELL.disk, **change)) == expected  # type: ignore[arg-type]


def test_a_disk_below_its_floor_is_worse_than_one_that_is_near() -> None:
    near, below = (
        findings(replace(WELL, disk=replace(WELL.disk, free=free)))[0] for free in (300_000_000, 100_000_000)
    )

    assert (near.severity, below.severity) == ("warning", "error")
    assert "100 MB are free" in below.sentence


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (Clock(0.0, kept=False), ["clock_not_set"]),
        (Clock(BUILT + 1, kept=False), ["clock_not_kept"]),
        (Clock(BUILT + 1, kept=None), []),
    ],
)
def test_clocks(clock: Clock, expected: list[str]) -> None:
    assert codes(clock=clock) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vitals": Vitals(temperature=79.9)}, []),
        ({"vitals": Vitals(temperature=80.0)}, ["hot"]),
        ({"vitals": Vitals(under_voltage=True)}, ["under_voltage"]),
        ({"power": Power(under_voltage=True, under_voltage_before=True)}, ["under_voltage"]),
        (
            {"power": Power(under_voltage_before=True, throttled_before=True)},
            ["under_voltage_before", "throttled_before"],
        ),
        ({"power": Power(throttled=True, throttled_before=True)}, ["throttled"]),
    ],
)
def test_heat_and_power(changes: dict[str, object], expected: list[str]) -> None:
    assert codes(**changes) == expected


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        ("unreachable", "loop_unreachable"),
        ("busy", "loop_busy"),
        ("login", "loop_login"),
        ("project", "loop_project"),
        ("refused", "loop_refused"),
        ("format", "loop_format_missing"),
        ("not_reported", "loop_not_reported"),
    ],
)
def test_loops(problem: LoopProblem, code: str) -> None:
    [found] = findings(replace(WELL, loop=LoopFacts("loop.example", problem, "These are its words.")))

    assert found.code == code
    assert "These are its words." in found.sentence
    assert found.to_do


def test_braces_in_what_a_loop_says_are_only_text() -> None:
    [found] = findings(replace(WELL, loop=LoopFacts("loop.example", "refused", '{"detail": {0} {host}}')))

    assert '{"detail": {0} {host}}' in found.sentence


@pytest.mark.parametrize(
    ("outbox", "expected"),
    [
        (OutboxFacts(899, 1000, 0, GB), []),
        (OutboxFacts(900, 1000, 0, GB), ["outbox_nearly_full"]),
        (OutboxFacts(10, 1000, GB, GB), ["outbox_full"]),
        (OutboxFacts(0, 0, 0, 0), []),
        (OutboxFacts(1, 1000, 10, GB, rejected=1), ["outbox_rejected"]),
        (OutboxFacts(problem="The outbox cannot be looked at: permission denied."), ["outbox_unreadable"]),
    ],
)
def test_outboxes(outbox: OutboxFacts, expected: list[str]) -> None:
    assert codes(outbox=outbox) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"credentials": False}, ["open_without_password"]),
        ({"credentials": False, "bind_host": "127.0.0.1"}, []),
        ({"trusted": (ip_network("0.0.0.0/0"),)}, ["trusts_everybody"]),
        ({"trusted": (ip_network("::/0"),)}, ["trusts_everybody"]),
        ({"trusted": (ip_network("100.0.0.0/8"),)}, ["trusts_many"]),
        ({"trusted": (ip_network("10.0.0.0/8"), ip_network("2001:4860::/48"))}, []),
        ({"backdoor": True}, ["backdoor_open"]),
        ({"keys_problem": "No API key counts."}, ["api_keys_unreadable"]),
        ({"refused": (("192.168.5.7", "192.168.5.0/24"),)}, ["robot_refused"]),
    ],
)
def test_access(change: dict[str, object], expected: list[str]) -> None:
    assert codes(access=replace(WELL.access, **change)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "wide"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("192.168.1.4", True),
        ("box", True),
    ],
)
def test_which_addresses_are_reached_from_elsewhere(host: str, wide: bool) -> None:
    assert is_wide(host) is wide


def test_the_worst_comes_first_and_a_notice_alone_is_well() -> None:
    found = findings(
        replace(WELL, clock=Clock(BUILT + 1, kept=False), model=ModelFacts(None), vitals=Vitals(temperature=90.0))
    )

    assert [each.severity for each in found] == ["error", "warning", "notice"]
    assert not is_well(found)
    assert is_well(found[2:])
