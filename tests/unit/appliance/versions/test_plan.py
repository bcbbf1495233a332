"""What to do next, for every situation that a box can be in. The plan is a table; so are its tests."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.versions.plan import (
    PROBE_SECONDS,
    AskForModels,
    Download,
    Hold,
    Load,
    LoopView,
    Postpone,
    Probe,
    Probed,
    Rest,
    Serving,
    Situation,
    Step,
    WaitForFormat,
    WaitForLoop,
    Wanted,
    next_step,
)
from appliance.versions.reference import ModelReference
from appliance.versions.selection import Scope
from appliance.versions.state import DownloadedModel, RememberedFailure, VersionState
from models.store import StoredModel
from models.wire.loop import DeploymentTarget, LoopModel

NOW = 1000.0
SCOPE = Scope("acme", "kitchens", ("litert", "onnx"))


def model(version: str, form: str = "litert", id: str | None = None) -> StoredModel:
    return StoredModel("acme", "kitchens", form, version, id or f"id-{version}", Path(f"/m/{form}/{version}"), False, 1)


def reference(version: str, form: str = "litert") -> ModelReference:
    return ModelReference.of(model(version, form))


def listed(version: str, *formats: str) -> LoopModel:
    return LoopModel(id=f"id-{version}", version=version, formats=list(formats))


def failure(version: str, form: str = "litert", offer: str | None = "etag a", program: str = "1") -> RememberedFailure:
    return RememberedFailure(
        model_id=f"id-{version}",
        format=form,
        version=version,
        zip_sha256="z",
        offer=offer,
        appliance_version=program,
        reason="It returns NaN",
        when=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )


def loop(target: str | None = "1.1", *models: LoopModel, **more: Any) -> LoopView:
    return LoopView(
        answers=True,
        target=DeploymentTarget(model_uuid=f"id-{target}", version=target) if target else None,
        models=models or (listed("1.1", "litert"),),
        ask_again=NOW + 30,
        **more,
    )


def situation(**changes: Any) -> Situation:
    """A box that follows its Loop: 1.0 serves, 1.1 is deployed and there."""
    known = {
        "state": VersionState(current=reference("1.0")),
        "scope": SCOPE,
        "models": [model("1.0")],
        "now": NOW,
        "appliance_version": "1",
        "loop": loop(),
        "locked_until": NOW,
    }
    return Situation(**{**known, **changes})


STATE = VersionState(current=reference("1.0"))
TARGET = Wanted("id-1.1", "1.1")
FAILED = STATE.remembering(failure("1.1"))
FAILED_IN_ONE = FAILED.serving(reference("1.1", "onnx"), failure("1.1").when)
NOT_AGAIN = "Model 1.1 is not tried again as it is: It returns NaN"
KEY = ("id-1.1", "litert")


def probed(offer: str | None, ago: float = 1.0, told: bool = True) -> dict[tuple[str, str], Probed]:
    return {KEY: Probed(NOW - ago, offer, told)}


BOTH = listed("1.1", "litert", "onnx")

CASES: dict[str, tuple[dict[str, Any], Step]] = {
    "deployed and not here": ({}, Download(TARGET, "litert")),
    "deployed and serving": ({"loop": loop("1.0")}, Serving(Wanted("id-1.0", "1.0"))),
    "nothing deployed": ({"loop": loop(None)}, Rest()),
    "standalone": ({"loop": None}, Rest()),
    "paused by a test": ({"paused": True}, Rest()),
    "in the mode pause": ({"state": STATE.in_mode("pause")}, Rest()),
    "here and sound": ({"models": [model("1.0"), model("1.1")]}, Load(TARGET, model("1.1"))),
    "here in both formats": (
        {"models": [model("1.1", "onnx"), model("1.1"), model("1.0")]},
        Load(TARGET, model("1.1")),
    ),
    "here, another model of that version": (
        {"models": [model("1.0"), model("1.1", id="another")]},
        Download(TARGET, "litert"),
    ),
    "here, but somebody is detecting": (
        {"models": [model("1.1")], "operation_mode": "detecting"},
        Postpone(TARGET, model("1.1"), "the operation mode is detecting, not idle"),
    ),
    "here, but locked": (
        {"models": [model("1.1")], "locked_until": NOW + 5},
        Postpone(TARGET, model("1.1"), "the update lock is held", NOW + 5),
    ),
    "not here and locked: it may be fetched": ({"locked_until": NOW + 5}, Download(TARGET, "litert")),
    "here, but it did not work a moment ago": (
        {"models": [model("1.1")], "holds": {KEY: Hold(NOW + 5, "no memory")}},
        Rest(TARGET, "no memory", until=NOW + 5),
    ),
    "here, and it did not work a while ago": (
        {"models": [model("1.1")], "holds": {KEY: Hold(NOW - 5, "no memory")}},
        Load(TARGET, model("1.1")),
    ),
    "the Loop is away": ({"loop": LoopView(False, loop().target)}, WaitForLoop(TARGET)),
    "the Loop is away, the model is here": (
        {"loop": LoopView(False, loop().target), "models": [model("1.1")]},
        Load(TARGET, model("1.1")),
    ),
    "the Loop is away, and it failed before": (
        {"loop": LoopView(False, loop().target), "state": FAILED},
        Rest(TARGET, NOT_AGAIN),
    ),
    "the list was not asked for": ({"loop": LoopView(True, loop().target)}, AskForModels(TARGET)),
    "the list cannot be had": (
        {"loop": LoopView(True, loop().target, None, NOW + 7)},
        Rest(TARGET, "The Loop does not tell which models it has", until=NOW + 7),
    ),
    "not in a format of this box": (
        {"loop": loop("1.1", listed("1.1", "appliance_pytorch"))},
        WaitForFormat(TARGET, ("litert", "onnx"), NOW + 30),
    ),
    "not in a format of this box, and time to ask again": (
        {"loop": LoopView(True, loop().target, (listed("1.1"),), NOW - 1)},
        AskForModels(TARGET),
    ),
    "listed, and yet not there": (
        {"holds": {KEY: Hold(NOW + 9, None)}},
        WaitForFormat(TARGET, ("litert",), NOW + 9),
    ),
    "not listed at all": ({"loop": loop("1.1", listed("1.0", "litert"))}, Download(TARGET, "litert")),
    "in the other format only": ({"loop": loop("1.1", listed("1.1", "onnx"))}, Download(TARGET, "onnx")),
    "failed": ({"state": FAILED}, Probe(TARGET, "litert")),
    "failed, and the same bytes are there": (
        {"state": FAILED, "loop": loop(probes=probed("etag a"))},
        Rest(TARGET, NOT_AGAIN, until=NOW - 1 + PROBE_SECONDS),
    ),
    "failed, and it is time to look again": (
        {"state": FAILED, "loop": loop(probes=probed("etag a", PROBE_SECONDS))},
        Probe(TARGET, "litert"),
    ),
    "failed, and other bytes are there": (
        {"state": FAILED, "loop": loop(probes=probed("etag b"))},
        Download(TARGET, "litert"),
    ),
    "failed, and so did the other bytes": (
        {"state": FAILED.remembering(failure("1.1", offer="etag b").model_copy(update={"zip_sha256": "y"})),
         "loop": loop(probes=probed("etag a"))},
        Rest(TARGET, NOT_AGAIN, until=NOW - 1 + PROBE_SECONDS),
    ),
    "failed under another version of the program": (
        {"state": STATE.remembering(failure("1.1", program="0"))},
        Download(TARGET, "litert"),
    ),
    "failed, and the Loop did not answer the look": (
        {"state": FAILED, "loop": loop(probes=probed(None, told=False))},
        Rest(TARGET, NOT_AGAIN, until=NOW - 1 + PROBE_SECONDS),
    ),
    "failed, and the Loop tells nothing": (
        {"state": FAILED, "loop": loop(probes=probed(None))},
        Rest(TARGET, NOT_AGAIN, until=NOW - 1 + PROBE_SECONDS),
    ),
    "failed, the Loop tells nothing, and it was left alone for long": (
        {"state": FAILED, "loop": loop(probes=probed(None)), "holds": {KEY: Hold(NOW - 1, "It returns NaN")}},
        Download(TARGET, "litert"),
    ),
    "failed in one format, there in another": (
        {"state": FAILED, "loop": loop("1.1", BOTH, probes=probed("etag a"))},
        Download(TARGET, "onnx"),
    ),
    "failed in one format, serving in another": (
        {"state": FAILED_IN_ONE, "models": [model("1.1", "onnx")], "loop": loop("1.1", BOTH)},
        Serving(TARGET),
    ),
    "here, failed, and from the Loop": (
        {
            "models": [model("1.1")],
            "failed": frozenset({model("1.1").identity}),
            "state": FAILED.with_download(
                DownloadedModel(reference=reference("1.1"), model_id="id-1.1", offer="etag a", zip_sha256="z")
            ),
            "loop": loop(probes=probed("etag b")),
        },
        Download(TARGET, "litert"),
    ),
    "chosen and here": (
        {"state": STATE.in_mode("specific_version", "1.2"), "models": [model("1.2")]},
        Load(Wanted("id-1.2", "1.2"), model("1.2")),
    ),
    "chosen, here and the Loop is away": (
        {"state": STATE.in_mode("specific_version", "1.2"), "models": [model("1.2")], "loop": LoopView()},
        Load(Wanted("id-1.2", "1.2"), model("1.2")),
    ),
    "chosen, brought by somebody, and failed": (
        {
            "state": STATE.in_mode("specific_version", "1.2").remembering(failure("1.2", offer=None)),
            "models": [model("1.2")],
            "failed": frozenset({model("1.2").identity}),
        },
        Rest(Wanted("id-1.2", "1.2"), NOT_AGAIN.replace("1.1", "1.2"), given_up=True),
    ),
    "chosen and in the Loop": (
        {"state": STATE.in_mode("specific_version", "1.2"), "loop": loop("1.1", listed("1.2", "onnx"))},
        Download(Wanted("id-1.2", "1.2"), "onnx"),
    ),
    "chosen in a format, and in the Loop": (
        {
            "state": STATE.in_mode("specific_version", "acme/kitchens/onnx/1.2"),
            "loop": loop("1.1", listed("1.2", "litert", "onnx")),
        },
        Download(Wanted("id-1.2", "1.2"), "onnx"),
    ),
    "chosen and nowhere": (
        {"state": STATE.in_mode("specific_version", "1.2")},
        Rest(
            Wanted("", "1.2"), "Version 1.2 was chosen and is neither on this box nor in the Loop", until=NOW + 30
        ),
    ),
    "chosen, not here, and the Loop is away": (
        {"state": STATE.in_mode("specific_version", "1.2"), "loop": LoopView()},
        WaitForLoop(Wanted("", "1.2")),
    ),
    "chosen, of another project, and not here": (
        {"state": STATE.in_mode("specific_version", "acme/bathrooms/1.2")},
        Rest(Wanted("", "acme/bathrooms/1.2"), "Version acme/bathrooms/1.2 was chosen and is not on this box", given_up=True),
    ),
    "chosen, not here, and standalone": (
        {"state": STATE.in_mode("specific_version", "1.2"), "loop": None},
        Rest(Wanted("", "1.2"), "Version 1.2 was chosen and is not on this box", given_up=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_to_do_next(case: str) -> None:
    changes, expected = CASES[case]
    assert next_step(situation(**changes)) == expected


@given(
    st.builds(
        situation,
        state=st.sampled_from(
            [STATE, FAILED, STATE.in_mode("pause"), *(STATE.in_mode("specific_version", v) for v in ("1.0", "1.1", "9"))]
        ),
        models=st.lists(st.sampled_from([model("1.0"), model("1.1"), model("1.1", "onnx"), model("1.1", id="x")]), unique=True),
        loop=st.none()
        | st.builds(
            LoopView,
            answers=st.booleans(),
            target=st.none() | st.builds(DeploymentTarget, model_uuid=st.sampled_from(["id-1.1", "../x"]) | st.text(max_size=3),
                                         version=st.sampled_from(["1.1", "1.0"]) | st.text(max_size=3)),
            models=st.none() | st.just((BOTH,)) | st.just(()),
            ask_again=st.sampled_from([NOW - 1, NOW + 1]),
            probes=st.just({}) | st.builds(probed, st.sampled_from([None, "etag a", "etag b"]), st.sampled_from([1.0, 9.0])),
        ),
        failed=st.sets(st.sampled_from([model("1.1").identity, model("1.0").identity])).map(frozenset),
        holds=st.dictionaries(st.just(KEY), st.builds(Hold, st.sampled_from([NOW - 1, NOW + 1]), st.none() | st.just("no"))),
        operation_mode=st.sampled_from(["startup", "idle", "detecting"]),
        locked_until=st.sampled_from([NOW, NOW + 1]),
        paused=st.booleans(),
    )
)  # fmt: skip
def test_in_no_situation_does_it_do_what_must_not_be(at: Situation) -> None:
    step = next_step(at)
    if isinstance(step, Load):
        assert at.operation_mode == "idle"
        assert at.locked_until <= at.now
        assert step.model.identity not in at.failed
        assert step.model in at.models
        assert at.state.mode != "pause"
    if isinstance(step, Load | Download | Probe | AskForModels):
        assert not at.paused
    if isinstance(step, Download | Probe | AskForModels):
        assert at.loop is not None
        assert at.loop.answers
        assert "/" not in step.wanted.id
    until = getattr(step, "until", None)
    assert until is None or until > at.now, "it would be asked again at once, for ever"
