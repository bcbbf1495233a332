"""What people are shown of a trainer: the values, and the words for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from companions.condition import Condition, Trouble
from trainer_companion.progress import Confusion, Progress
from trainer_companion.run_state import LastRun, Run
from trainer_companion.running import Watched
from trainer_companion.stages import STAGES, stage_at
from ui.kit.marks import Mark

POINTS = 120
"""Of a curve that is shown."""

WARNINGS = 10
LINES = 40

DOING = {
    "data_downloading": "downloading pictures and annotations",
    "train_model_downloading": "downloading the model it begins with",
    "running": "training",
    "confusion_matrix_syncing": "telling the Loop how good the model is",
    "train_model_uploading": "uploading the model",
    "detecting": "looking at all pictures with the new model",
    "detection_uploading": "uploading what it found",
    "ready_for_cleanup": "cleaning up",
    "waiting_for_slot": "waiting until another trainer of this machine is done",
}
"""What a trainer does in a state, by upstream's names."""

STEPS = ("Pictures", "Base model", "Training", "Metrics", "Model upload", "Detecting", "Detection upload")
"""The stages, in their order, in a word or two."""

FAILED = {
    "prepare": "The pictures cannot be downloaded",
    "download_model": "The model to begin with cannot be downloaded",
    "run_training": "The training itself failed",
    "sync_confusion_matrix": "The Loop does not know how good the model is",
    "upload_model": "The model cannot be uploaded",
    "detecting": "The new model cannot look at the pictures",
    "upload_detections": "What the new model found cannot be uploaded",
    "cleanup": "What is left over cannot be removed",
    "training_slot": "The training slot cannot be claimed",
}
"""What failed, by upstream's names of errors."""

TRIED_AGAIN = "It is tried again by itself, at least every 5 minutes."


@dataclass(frozen=True)
class Curve:
    """Loss and mAP50 (percent) evenly over the training so far, and what stands at both ends of it.

    `accuracy` (percent) is there of what classifies pictures as a whole, in place of mAP50.
    """

    loss: tuple[float | None, ...] = ()
    map50: tuple[float | None, ...] = ()
    begin: str = ""
    end: str = ""
    accuracy: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Row:
    """One category of the best model on pictures held out: found, wrongly found, missed."""

    name: str
    counts: Confusion

    @property
    def words(self) -> tuple[str, ...]:
        """For a table: name, the three counts, how many of the detections are right, how many of the things are found."""
        tp, fp, fn = self.counts.tp, self.counts.fp, self.counts.fn
        return self.name, str(tp), str(fp), str(fn), _percent(tp, tp + fp), _percent(tp, tp + fn)


@dataclass(frozen=True)
class Shown:
    """A picture with what the best model finds in it; `things`: how many people have marked there, `said`: the class that
    they gave it, where whole pictures are classified.
    """

    source: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    things: int
    said: str | None = None

    @property
    def words(self) -> str:
        """What people see there, for comparison."""
        return (
            f"{len(self.marks)} found, {self.things} marked by people"
            if self.said is None
            else f"People say {self.said}"
        )


@dataclass(frozen=True)
class View:
    """All that the page shows. `step`: index into `STEPS`, None while there is no training; `share` 0..1 of that step.

    `numbers`: name, value, hint. `sight`: epoch of the model that `pictures` are seen with.
    """

    condition: Condition
    name: str | None = None
    step: int | None = None
    doing: str = ""
    share: float | None = None
    left: str = ""
    can_stop: bool = False
    can_abort: bool = False
    curve: Curve = Curve()
    numbers: tuple[tuple[str, str, str], ...] = ()
    rows: tuple[Row, ...] = ()
    pictures: tuple[Shown, ...] = ()
    sight: str = ""
    warnings: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def doing(run: Run, state: str, failing: Mapping[str, str]) -> str:
    """What happens now, without a subject: `training`."""
    if state == "running" and run.stopping:
        return "stopping: what has been learnt is being kept"
    if state in DOING and state != run.state:
        return DOING[state]
    stage = stage_at(run.state)
    key = "cleanup" if stage is None else stage.key
    what = DOING["ready_for_cleanup" if stage is None else stage.during]
    return f"waiting a while before trying again: {what}" if key in failing else what


def step_of(run: Run) -> int:
    """Index into `STEPS` of what is due, their number where all are done."""
    stage = stage_at(run.state)
    return len(STAGES) if stage is None else STAGES.index(stage)


def sentence(run: Run | None, last: LastRun | None, state: str, does: str, share: float | None, holder: str) -> str:
    """How it is, in one sentence."""
    if run is not None:
        name = f"{run.name[:1].upper()}{run.name[1:]}"
        return f"{name}: {does}{'' if share is None else f', {share:.0%}'}"
    if state == "blocked":
        return f"Idle, and not free: the training slot is held by {holder or 'another trainer of this machine'}."
    if last is None:
        return "Idle: trainings are begun in the Loop."
    ended = f"training {last.training_number} of {last.organization}/{last.project}"
    how = {"finished": "is finished", "failed": "failed", "aborted": "was aborted"}[last.outcome]
    good = "" if last.map50 is None else f" (mAP50 {last.map50:.3f})"
    good = good if last.accuracy is None else f" (accuracy {last.accuracy:.3f})"
    good = "" if last.outcome == "aborted" else good
    return f"Idle. The last one, {ended}, {how}{good}."


def troubles(failing: Mapping[str, str], final: Mapping[str, str], *, active: bool) -> tuple[Trouble, ...]:
    """`failing`: what is tried again, by name; `final`: what is not. `active`: the training still goes on."""
    found = [
        Trouble("error", f"{FAILED.get(key, key)}.", reason if active else f"{reason} {_AFTER}")
        for key, reason in final.items()
    ]
    found += [
        Trouble("warning", f"{FAILED.get(key, key)}: {reason}", TRIED_AGAIN)
        for key, reason in failing.items()
        if key not in final
    ]
    return tuple(found)


_AFTER = "That training is over; begin another one in the Loop when this is mended."


def curve(points: Sequence[Progress]) -> Curve:
    """What a training has said, evenly over its shares; between two that are known a straight line."""
    if not points:
        return Curve()
    first, last = points[0], points[-1]
    places = np.linspace(first.share, last.share, min(POINTS, len(points)))

    def evenly(known: Iterable[tuple[float, float | None]]) -> tuple[float | None, ...]:
        pairs = [(share, value) for share, value in known if value is not None]
        if not pairs:
            return tuple(None for _ in places)
        shares, values = zip(*pairs, strict=True)
        found = np.interp(places, shares, values)
        return tuple(
            float(value) if shares[0] <= place <= shares[-1] else None
            for place, value in zip(places, found, strict=True)
        )

    return Curve(
        evenly((point.share, point.loss) for point in points),
        evenly((point.share, None if point.map50 is None else 100 * point.map50) for point in points),
        f"epoch {first.epoch}",
        f"epoch {last.epoch}",
        evenly((point.share, None if point.accuracy is None else 100 * point.accuracy) for point in points)
        if any(point.accuracy is not None for point in points)
        else (),
    )


def numbers(run: Run, watched: Watched, limit_gb: float) -> tuple[tuple[str, str, str], ...]:
    """The tiles; what is not known is left out. `limit_gb`: of the graphics card's memory, 0 for all of it."""
    best, now, started = run.best, watched.progress, watched.started
    found: list[tuple[str, str, str]] = []
    if best is not None:
        if best.accuracy is None:
            found.append(("Best mAP50", f"{best.map50:.3f}", f"mAP {best.map:.3f}, epoch {best.epoch}"))
        else:
            found.append(("Best accuracy", f"{best.accuracy:.3f}", f"epoch {best.epoch}"))
        found.append(("Confidence", f"{best.conf_threshold:.2f}", "from which a detection counts"))
    if run.train_images is not None:
        found.append(("Pictures", _count(run.train_images), f"and {_count(run.test_images or 0)} held out"))
    skipped = run.skipped_image_count or 0
    if skipped or run.skipped_annotations:
        found.append(("Left out", _count(skipped), _left_out(run.skipped_annotations)))
    if now is not None:
        found.append(("Epoch", str(now.epoch), _of_network(watched)))
    if now is not None and now.images_per_second is not None:
        found.append(("Rate", f"{now.images_per_second:.0f} /s", "pictures learnt from"))
    if now is not None and now.gpu_memory_gb is not None:
        hint = f"of {limit_gb:g} GiB that may be used" if limit_gb else (started.device if started is not None else "")
        found.append(("Graphics memory", f"{now.gpu_memory_gb:.1f} GiB", hint))
    return tuple(found)


def rows(confusion: Mapping[str, Confusion], names: Mapping[str, str]) -> tuple[Row, ...]:
    """Of the best model, by the names of the categories; `names`: by their ids."""
    return tuple(
        sorted((Row(names.get(key, key), counts) for key, counts in confusion.items()), key=lambda row: row.name)
    )


def left(seconds: float | None) -> str:
    """How long the training goes on, roughly."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s left"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"


def _of_network(watched: Watched) -> str:
    started = watched.started
    if started is None:
        return ""
    return f"{started.variant or started.architecture}, {started.processes} x {started.batch_size} pictures a step"


def _left_out(annotations: int) -> str:
    words = "pictures that cannot be read"
    return f"{words}; {_count(annotations)} annotations" if annotations else words


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
