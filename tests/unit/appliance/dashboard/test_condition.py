"""The one sentence of truth, and what is wrong with the way out."""

from __future__ import annotations

from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest

from access import Reason, Refusal, Refusals
from appliance.connection import LoopConnection
from appliance.dashboard.condition import condition
from appliance.outbox.room import Count, OutboxStats
from appliance.recent import Recent
from appliance.services import Services
from appliance.versions.progress import UpdateStatus
from appliance.vitals import Vitals
from models.runtimes.base import Choice
from ui.ports import Condition, Trouble

NOW = 1_000_000.0


class Place:
    """A box of which only what is asked for is there."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.bind_host, self.claimed = "0.0.0.0", True
        self.password_problem: str | None = None
        self.serving: Any = SimpleNamespace(
            bundle=SimpleNamespace(model=SimpleNamespace(version="1.3")),
            choice=Choice("litert", "edgetpu", 1),
            degraded=None,
        )
        self.versions = SimpleNamespace(operation_mode="idle", error=None, update=UpdateStatus(state="up_to_date"))
        self.connection = LoopConnection("loop.example.org", lambda: self.seconds)
        self.connection.answered()
        self.refusals = Refusals(lambda: NOW)
        self.trusted: list[Any] = []
        self.stats = OutboxStats(Count(2, 20), Count(10, 100), Count(), Count())
        self.mode = "continuous_upload"
        self.problem: str | None = None
        self.recent = Recent()
        self.vitals = Vitals(free_bytes=10**10)

    def condition(self) -> Condition:
        """How it is."""
        services = SimpleNamespace(
            supervisor=SimpleNamespace(serving=self.serving),
            versions=self.versions,
            connection=self.connection,
            access=SimpleNamespace(refusals=self.refusals, policy=SimpleNamespace(trusted_networks=self.trusted)),
            outbox=SimpleNamespace(stats=lambda: self.stats),
            outbox_mode=lambda: self.mode,
            reporter=SimpleNamespace(problem=self.problem),
            settings=SimpleNamespace(min_free_disk_mb=200, bind_host=self.bind_host),
            logins=SimpleNamespace(claimed=self.claimed, problem=self.password_problem),
        )
        return condition(cast(Services, services), self.recent, self.vitals, lambda: NOW)

    def troubles(self) -> tuple[Trouble, ...]:
        """What is wrong."""
        return self.condition().troubles


def test_all_is_well() -> None:
    how = Place().condition()

    assert how.sentence == "Detecting with model 1.3 on Edge TPU · 0 pictures/s · outbox 12 waiting · Loop connected"
    assert (how.severity, how.troubles) == ("good", ())


def test_without_a_model_the_way_out_is_the_page_of_the_models() -> None:
    place = Place()
    place.serving = None
    place.versions.error = "Model 1.4 could not be brought into service: it returned nonsense"

    how = place.condition()

    assert how.sentence.startswith("Not detecting")
    assert how.severity == "error"
    assert "it returned nonsense" in how.troubles[0].reason
    assert how.troubles[0].path == "/models"


def test_at_start_a_missing_model_is_no_trouble_yet() -> None:
    place = Place()
    place.serving = None
    place.versions.operation_mode = "startup"

    assert place.condition().sentence.startswith("Starting")
    assert place.troubles() == ()


def test_a_box_that_is_open_to_the_network_and_has_no_password_says_so() -> None:
    box = Place()
    box.claimed = False
    [trouble] = box.troubles()
    assert (trouble.severity, trouble.path) == ("notice", "/settings#access")
    assert "Nobody has set a password" in trouble.reason
    box.bind_host = "127.0.0.1"
    assert box.troubles() == (), "nobody else comes in anyway"
    box.password_problem = "Nobody can log in, because of a file"
    assert [each.reason for each in box.troubles()] == ["Nobody can log in, because of a file"]


def test_a_stopped_outbox_is_in_the_sentence() -> None:
    place = Place()
    place.mode = "stopped"

    assert "outbox 12 waiting, stopped" in place.condition().sentence


def test_a_refused_robot_is_shown_with_the_network_to_trust() -> None:
    place = Place()
    for address in ("192.168.4.23", "192.168.4.24", "192.168.4.23"):
        place.refusals.note(address, Refusal(Reason.NETWORK, "…"))

    [trouble] = place.troubles()

    assert trouble.network == "192.168.4.0/24"
    assert "192.168.4.23" in trouble.reason
    assert "3 times" in trouble.reason

    place.trusted = [ip_network("192.168.4.0/24")]
    assert place.troubles() == ()


def test_a_wrong_key_is_nothing_that_trust_would_help() -> None:
    place = Place()
    place.refusals.note("192.168.4.23", Refusal(Reason.KEY, "…"))

    assert place.troubles() == ()


def test_a_refusal_of_long_ago_is_not_shown_any_more() -> None:
    place = Place()
    place.refusals = Refusals(lambda: NOW - 3600)
    place.refusals.note("192.168.4.23", Refusal(Reason.NETWORK, "…"))

    assert place.troubles() == ()


def test_networks_without_number_are_not_all_shown() -> None:
    place = Place()
    for number in range(50):
        place.refusals.note(f"10.0.{number}.1", Refusal(Reason.NETWORK, "…"))

    assert len(place.troubles()) == 3


def test_a_loop_that_is_away_is_worth_a_warning_after_a_while() -> None:
    place = Place()
    place.connection.away("connection refused")
    assert place.troubles() == ()
    assert place.condition().sentence.endswith("Loop away")

    place.seconds += 60
    [trouble] = place.troubles()
    assert (trouble.severity, "connection refused" in trouble.reason) == ("warning", True)


def test_a_missing_format_is_no_failure() -> None:
    place = Place()
    place.versions.update = UpdateStatus(state="waiting_for_format", version="1.4", sentence="Not yet in format litert")

    assert place.condition().severity == "notice"


@pytest.mark.parametrize(
    ("vitals", "severity", "words"),
    [
        (Vitals(free_bytes=10**10), None, ""),
        (Vitals(free_bytes=300_000_000), "warning", "nearly full"),
        (Vitals(free_bytes=100_000_000), "error", "nearly full"),
        (Vitals(temperature=79.0), None, ""),
        (Vitals(temperature=84.6), "warning", "85 °C"),
        (Vitals(under_voltage=True), "warning", "under-voltage"),
        (Vitals(), None, ""),
    ],
    ids=["room", "little room", "no room", "warm", "hot", "weak power", "nothing known"],
)
def test_the_machine_says_what_it_lacks(vitals: Vitals, severity: str | None, words: str) -> None:
    place = Place()
    place.vitals = vitals

    assert [trouble.severity for trouble in place.troubles()] == ([severity] if severity else [])
    assert all(words in trouble.reason for trouble in place.troubles())


def test_the_worst_comes_first() -> None:
    place = Place()
    place.stats = OutboxStats(Count(), Count(), Count(2, 20), Count())
    place.serving.degraded = "The Edge TPU is gone. Detecting as litert/cpu/2."
    place.refusals.note("192.168.4.23", Refusal(Reason.NETWORK, "…"))

    assert [trouble.severity for trouble in place.troubles()] == ["error", "warning", "notice"]
