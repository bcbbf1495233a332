"""What to do next so that the right model serves: one pure function of all that is known.

    wanted, on disk, sound            -> Load, or Postpone while the box may not change its model
    wanted, not on disk, in the Loop  -> Download
    wanted, its format not there yet  -> WaitForFormat, which is no failure: converters take their time
    wanted, and these bytes failed    -> Probe whether the Loop has others by now, else Rest with the reason

Whatever is wanted, the model that serves goes on serving until another one has loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance.versions.selection import Scope, copies_of, listed_as, meant_by, resolve, same_version, sought_in_loop
from appliance.versions.state import RememberedFailure, VersionState
from models.bundle import Identity
from models.errors import UnknownVersion
from models.store import StoredModel
from models.wire.loop import DeploymentTarget, LoopModel
from models.wire.node_status import OperationMode

PROBE_SECONDS = 5.0
"""Between two looks whether the Loop has other bytes of a model that failed. Costs the Loop what asking for its target does."""

BLIND_RETRY_SECONDS = 6 * 3600.0
"""After which a model that failed is downloaded again from a Loop that offers nothing to tell its bytes from others."""

_MODEL_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")

FileKey = tuple[str, str]
"""Model id and format: one file of the Loop."""


@dataclass(frozen=True)
class Probed:
    """What a look at a file of the Loop brought, `at` seconds on the clock. `told` is false where there was no answer."""

    at: float
    offer: str | None = None
    told: bool = True


@dataclass(frozen=True)
class LoopView:
    """What is known of the Loop. `answers`: whether it did when it was asked last.

    `models` is None until they were asked for, and they are to be asked for again from `ask_again` (seconds on the clock)
    on, if something is missing in them.
    """

    answers: bool = False
    target: DeploymentTarget | None = None
    models: tuple[LoopModel, ...] | None = None
    ask_again: float = 0.0
    probes: Mapping[FileKey, Probed] = field(default_factory=dict)


@dataclass(frozen=True)
class Hold:
    """Leave a model alone until then, in seconds on the clock. `problem` says why; None: its format is not there yet."""

    until: float
    problem: str | None


@dataclass(frozen=True)
class Situation:
    """All that a decision depends on. `now` and all other times are seconds on a clock that never jumps.

    `loop` is None for a standalone box. `failed` are models on disk whose bytes failed before.
    """

    state: VersionState
    scope: Scope
    models: Sequence[StoredModel]
    now: float
    appliance_version: str
    loop: LoopView | None = None
    failed: frozenset[Identity] = frozenset()
    holds: Mapping[FileKey, Hold] = field(default_factory=dict)
    operation_mode: OperationMode = "idle"
    locked_until: float = 0.0
    paused: bool = False


@dataclass(frozen=True)
class Wanted:
    """A model that shall serve. `id` is empty while the Loop was not asked for it."""

    id: str
    version: str


@dataclass(frozen=True)
class Rest:
    """Nothing to do until something changes. `problem`: why what is wanted does not serve; `given_up`: for good."""

    wanted: Wanted | None = None
    problem: str | None = None
    until: float | None = None
    given_up: bool = False


@dataclass(frozen=True)
class Serving:
    """What is wanted serves."""

    wanted: Wanted


@dataclass(frozen=True)
class AskForModels:
    """The Loop's list of models has to be asked for."""

    wanted: Wanted


@dataclass(frozen=True)
class WaitForLoop:
    """The Loop does not answer; what is wanted is not on disk."""

    wanted: Wanted


@dataclass(frozen=True)
class WaitForFormat:
    """The Loop has the model, but not in a format that this box takes."""

    wanted: Wanted
    formats: tuple[str, ...]
    until: float


@dataclass(frozen=True)
class Probe:
    """Ask the Loop whether it has other bytes by now."""

    wanted: Wanted
    format: str


@dataclass(frozen=True)
class Download:
    """Get the model in this format."""

    wanted: Wanted
    format: str


@dataclass(frozen=True)
class Postpone:
    """The model is there; the box may not change to it yet."""

    wanted: Wanted
    model: StoredModel
    reason: str
    until: float | None = None


@dataclass(frozen=True)
class Load:
    """Bring the model into service."""

    wanted: Wanted
    model: StoredModel


Step = Rest | Serving | AskForModels | WaitForLoop | WaitForFormat | Probe | Download | Postpone | Load


def next_step(situation: Situation) -> Step:
    """See the module's docstring."""
    if situation.paused or situation.state.mode == "pause":
        return Rest()
    if situation.state.chosen is not None:
        return _towards_version(situation, situation.state.chosen)
    target = situation.loop.target if situation.loop is not None else None
    if target is None:
        return Rest()
    wanted = Wanted(target.model_uuid, target.version)
    if (refusal := why_not_taken(target)) is not None:
        return Rest(wanted, refusal)
    return _towards(situation, wanted, copies_of(wanted.id, situation.models, situation.scope), situation.scope.formats)


def why_not_taken(target: DeploymentTarget) -> str | None:
    """Why a deployment target can be none, as a sentence; None if it can."""
    if not same_version(target.version, target.version):
        return f"The Loop's deployment target is {target.version[:60]!r}, which is no version such as 1.4"
    if not _MODEL_ID.fullmatch(target.model_uuid):
        return f"The Loop's deployment target has the id {target.model_uuid[:60]!r}, which can be none"
    return None


def _towards_version(situation: Situation, chosen: str) -> Step:
    """Somebody chose a version: on disk it needs no Loop."""
    here = meant_by(chosen, situation.models, situation.scope)
    if not here:
        return _look_up(situation, chosen)
    try:
        model = resolve(chosen, here, situation.scope)
    except UnknownVersion as error:
        return Rest(Wanted("", chosen), str(error), given_up=True)
    copies = [each for each in here if each.id == model.id]
    formats = tuple(each for each in situation.scope.formats if each in {copy.format for copy in copies})
    return _towards(situation, Wanted(model.id, model.version), copies, formats)


def _look_up(situation: Situation, chosen: str) -> Step:
    """A version that is not on disk; the Loop may have it."""
    sought = sought_in_loop(chosen, situation.scope)
    if situation.loop is None or sought is None:
        return Rest(Wanted("", chosen), f"Version {chosen} was chosen and is not on this box", given_up=True)
    version, formats = sought
    wanted = Wanted("", version)
    if (waiting := _waiting_for_list(situation, situation.loop, wanted)) is not None:
        return waiting
    try:
        listed = listed_as(version, situation.loop.models or ())
    except UnknownVersion as error:
        return Rest(wanted, str(error), until=situation.loop.ask_again)
    if listed is not None and _MODEL_ID.fullmatch(listed.id):
        return _from_loop(situation, Wanted(listed.id, version), formats)
    if situation.now >= situation.loop.ask_again:
        return AskForModels(wanted)
    problem = f"Version {version} was chosen and is neither on this box nor in the Loop"
    return Rest(wanted, problem, until=situation.loop.ask_again)


def _towards(situation: Situation, wanted: Wanted, here: Sequence[StoredModel], formats: Sequence[str]) -> Step:
    """`here`: the model as it lies on disk; `formats`: those it may be downloaded in."""
    current = situation.state.current
    if current is not None and any(current.names(model) for model in here):
        return Serving(wanted)
    fit = [model for model in here if model.identity not in situation.failed]
    if fit:
        return _to_service(situation, wanted, fit[0])
    if here and not _came_from_loop(situation, here):
        return Rest(wanted, _not_again(wanted, _failures(situation, here[0].id, here[0].format)), given_up=True)
    return _from_loop(situation, wanted, formats)


def _to_service(situation: Situation, wanted: Wanted, model: StoredModel) -> Step:
    hold = situation.holds.get((model.id, model.format))
    if hold is not None and hold.until > situation.now:
        return Rest(wanted, hold.problem, until=hold.until)
    if situation.operation_mode != "idle":
        return Postpone(wanted, model, f"the operation mode is {situation.operation_mode}, not idle")
    if situation.locked_until > situation.now:
        return Postpone(wanted, model, "the update lock is held", until=situation.locked_until)
    return Load(wanted, model)


def _from_loop(situation: Situation, wanted: Wanted, formats: Sequence[str]) -> Step:
    loop = situation.loop or LoopView()
    waiting = _waiting_for_list(situation, loop, wanted)
    if isinstance(waiting, WaitForLoop):
        failures = [each for form in formats for each in _failures(situation, wanted.id, form)]
        return Rest(wanted, _not_again(wanted, failures), given_up=situation.loop is None) if failures else waiting
    if waiting is not None:
        return waiting
    listed = next((each for each in loop.models or () if each.id == wanted.id), None)
    # What the Loop does not list may be there all the same: the one that is asked for the file knows.
    there = [form for form in formats if listed is None or form in listed.formats]
    if there:
        return _one_of_the_files(situation, wanted, there)
    if situation.now >= loop.ask_again:
        return AskForModels(wanted)
    return WaitForFormat(wanted, tuple(formats), loop.ask_again)


def _waiting_for_list(situation: Situation, loop: LoopView, wanted: Wanted) -> Step | None:
    """What to do until the Loop's list of models is there; None if it is."""
    if not loop.answers:
        return WaitForLoop(wanted)
    if loop.models is not None:
        return None
    if situation.now >= loop.ask_again:
        return AskForModels(wanted)
    return Rest(wanted, "The Loop does not tell which models it has", until=loop.ask_again)


def _one_of_the_files(situation: Situation, wanted: Wanted, formats: Sequence[str]) -> Step:
    """The first file of the Loop about which there is something to do."""
    holds: list[Hold] = []
    for form in formats:
        step = _one_file(situation, wanted, form)
        if not isinstance(step, Hold):
            return step
        holds.append(step)
    until = min(hold.until for hold in holds)
    problem = next((hold.problem for hold in holds if hold.problem is not None), None)
    return WaitForFormat(wanted, tuple(formats), until) if problem is None else Rest(wanted, problem, until=until)


def _one_file(situation: Situation, wanted: Wanted, form: str) -> Download | Probe | Hold:
    """What to do about one file of the Loop; a `Hold` where there is nothing to do about it for now."""
    key = (wanted.id, form)
    hold = situation.holds.get(key)
    if hold is not None and hold.until > situation.now:
        return hold
    failures = _failures(situation, *key)
    if not failures:
        return Download(wanted, form)
    probed = situation.loop.probes.get(key) if situation.loop is not None else None
    if probed is None or situation.now >= probed.at + PROBE_SECONDS:
        return Probe(wanted, form)
    blind = probed.told and probed.offer is None
    if blind and hold is not None:  # it was left alone for long enough, and nothing but a download can tell
        return Download(wanted, form)
    if blind or not probed.told or any(each.offer == probed.offer for each in failures):
        return Hold(probed.at + PROBE_SECONDS, _not_again(wanted, failures))
    return Download(wanted, form)


def _came_from_loop(situation: Situation, here: Sequence[StoredModel]) -> bool:
    """Whether the Loop is known to have the model, so that it may have other bytes of it by now."""
    if situation.loop is None:
        return False
    ids = {model.id for model in here}
    target = situation.loop.target
    return (target is not None and target.model_uuid in ids and situation.state.mode == "follow_loop") or any(
        each.model_id in ids for each in situation.state.downloads
    )


def _failures(situation: Situation, model_id: str, form: str) -> tuple[RememberedFailure, ...]:
    return situation.state.failures_of(model_id, form, situation.appliance_version)


def _not_again(wanted: Wanted, failures: Sequence[RememberedFailure]) -> str:
    reason = failures[-1].reason if failures else "it failed before"
    return f"Model {wanted.version} is not tried again as it is: {reason}"
