"""Where an update stands, and what is wrong, for people and robots. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.versions.fetching import Progress
from appliance.versions.plan import Download, Load, Postpone, Rest, Serving, Step, WaitForFormat, WaitForLoop

UpdateState = Literal[
    "none",
    "planned",
    "waiting_for_loop",
    "waiting_for_format",
    "downloading",
    "verifying",
    "postponed",
    "loading",
    "on_probation",
    "up_to_date",
    "failed",
]


class UpdateStatus(BaseModel):
    """Answer of `GET /api/v1/update`. `progress` is 0..1, of the download, where its size is known."""

    model_config = ConfigDict(protected_namespaces=())

    state: UpdateState = Field(
        default="none",
        description="none: nothing is wanted; waiting_for_format: the Loop has the model, but in no format for this box "
        "yet; postponed: the operation mode or an update lock keeps the box as it is; on_probation: serves, and has yet to "
        "prove itself; failed: it does not serve, and `sentence` says why",
    )
    version: str | None = None
    model_id: str | None = None
    format: str | None = None
    progress: float | None = None
    sentence: str | None = None


@dataclass(frozen=True)
class Trouble:
    """Why a change did not come about, as a sentence, and `about` which model (id; empty: about none in particular).

    `lasting`: it stands until another change succeeds, for the box serves something else than it did. `general`: it is all
    that the plan has to say; what was seen when it was tried says more.
    """

    sentence: str
    about: str = ""
    lasting: bool = False
    general: bool = False


def status_of(step: Step, progress: Progress | None, on_probation: bool, problem: str | None) -> UpdateStatus:
    """What a step of the plan looks like to people. `problem`: why the last try came to nothing, if it did."""
    if step.wanted is None:
        return UpdateStatus(state="on_probation" if on_probation else "none", sentence=problem)
    status = UpdateStatus(version=step.wanted.version, model_id=step.wanted.id or None, sentence=problem)
    state, more = _told(step, progress)
    if state == "up_to_date" and on_probation:
        state = "on_probation"
    if state == "planned" and problem is not None:
        state = "failed"
    return status.model_copy(update={"state": state, **more})


def _told(step: Step, progress: Progress | None) -> tuple[UpdateState, dict[str, object]]:
    told: tuple[UpdateState, dict[str, object]] = "planned", {}
    if isinstance(step, Serving):
        told = "up_to_date", {}
    elif isinstance(step, WaitForLoop):
        told = "waiting_for_loop", {"sentence": "The Loop does not answer"}
    elif isinstance(step, WaitForFormat):
        formats = " or ".join(step.formats)
        sentence = f"The Loop has model {step.wanted.version}, but not yet in format {formats}; it is asked again"
        told = "waiting_for_format", {"sentence": sentence}
    elif isinstance(step, Download):
        share = progress.share if progress is not None else None
        verifying = progress is not None and progress.verifying
        told = "verifying" if verifying else "downloading", {"format": step.format, "progress": share}
    elif isinstance(step, Postpone):
        sentence = f"Model {step.wanted.version} is here and will serve later: {step.reason}"
        told = "postponed", {"sentence": sentence, "format": step.model.format}
    elif isinstance(step, Load):
        told = "loading", {"format": step.model.format}
    elif isinstance(step, Rest) and step.problem is not None:
        told = "failed", {}
    return told


def trouble_after(step: Step, trouble: Trouble | None) -> Trouble | None:
    """What is still wrong, or wrong now, once the plan has come to this step."""
    about = step.wanted.id if step.wanted is not None else ""
    if isinstance(step, Serving):
        return None
    if isinstance(step, Rest) and step.problem is not None:
        known = trouble is not None and not trouble.general and (trouble.about in ("", about) or not about)
        return trouble if known else Trouble(step.problem, about, general=True)
    if trouble is None or trouble.lasting:
        return trouble
    over = isinstance(step, WaitForFormat) or (step.wanted is None) or (about and trouble.about not in ("", about))
    return None if over else trouble
