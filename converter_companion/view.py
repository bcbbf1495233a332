"""What people are shown of a converter: the values, and the words for them. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from companions.condition import Condition, Trouble
from converter_companion.node import Done, Now
from converter_companion.plan import Failure
from converter_companion.report import Comparison, ParityReport, Side

FAILURES = 50
"""That are shown of each kind; the newest first."""

COLUMNS = ("Weights", "Same detections", "Mean shift", "Confidence", "mAP50", "Latency", "Size")
"""Of the comparison: share of detections that both have, shift of boxes in pixels of the input, difference of confidences."""

COLUMNS_OF_CLASSES = ("Weights", "Same class", "Confidence", "Accuracy", "Latency", "Size")
"""The same of what classifies whole pictures: share of the pictures in which both are surest of the same class."""


@dataclass(frozen=True)
class Recent:
    """A conversion that has ended. `reason`: why it did not work; `rows`: the comparison, of which `columns` are the heads."""

    title: str
    when: str
    reason: str | None
    compared: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Failed:
    """A conversion that is not tried again by itself."""

    key: str
    title: str
    reason: str
    when: str


@dataclass(frozen=True)
class Unfit:
    """Pairs that are not for the networks of some models, for one reason; `titles` name the models and formats."""

    reason: str
    titles: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """All that the page shows. `share` 0..1 of the conversion under way, whose name is `converting`."""

    condition: Condition
    converting: str | None = None
    doing: str = ""
    share: float = 0.0
    recent: tuple[Recent, ...] = ()
    failures: tuple[Failed, ...] = ()
    unfit: tuple[Unfit, ...] = ()


def condition(
    current: Now | None, looked_at: float | None, failures: int, trouble: str | None, more: tuple[Trouble, ...]
) -> Condition:
    """How it is, in one sentence, and what is wrong."""
    if current is not None:
        sentence = f"Converting {current.task.words}, {current.share:.0%}"
    elif looked_at is None:
        sentence = "Idle: it has not looked at the Loop yet."
    elif failures:
        models = "1 conversion does not work" if failures == 1 else f"{failures} conversions do not work"
        sentence = f"Idle: everything else is converted, {models}. It last looked {_moment(looked_at)}."
    else:
        sentence = f"Idle: everything is converted. It last looked {_moment(looked_at)}."
    own = () if trouble is None or more else (Trouble("warning", trouble, "It is tried again at the next look."),)
    return Condition(sentence, own + more)


def recent(done: Iterable[Done]) -> tuple[Recent, ...]:
    """Those that have ended, in their order."""
    return tuple(
        Recent(
            f"{each.task.words[:1].upper()}{each.task.words[1:]}",
            f"{_moment(each.when)}, took {_duration(each.seconds)}",
            each.reason,
            "" if each.report is None else _compared(each.report),
            columns(each.report),
            () if each.report is None else rows(each.report),
        )
        for each in done
    )


def failures(remembered: Mapping[str, Failure]) -> tuple[Failed, ...]:
    """Those that are remembered, the newest first."""
    newest = [(key, each) for key, each in _newest(remembered) if each.applies][:FAILURES]
    return tuple(Failed(key, _title(key, each.version), each.reason, _moment(each.when)) for key, each in newest)


def unfit(remembered: Mapping[str, Failure]) -> tuple[Unfit, ...]:
    """What is not for the networks of some models, by reason, the newest first."""
    titles: dict[str, list[str]] = {}
    for key, each in [(key, each) for key, each in _newest(remembered) if not each.applies][:FAILURES]:
        titles.setdefault(each.reason, []).append(_title(key, each.version))
    return tuple(Unfit(reason, tuple(found)) for reason, found in titles.items())


def _newest(remembered: Mapping[str, Failure]) -> list[tuple[str, Failure]]:
    return sorted(remembered.items(), key=lambda item: item[1].when, reverse=True)


def columns(report: ParityReport | None) -> tuple[str, ...]:
    """What `rows` holds."""
    return COLUMNS_OF_CLASSES if report is not None and report.source.classified else COLUMNS


def rows(report: ParityReport) -> tuple[tuple[str, ...], ...]:
    """The comparison: the source, and below it what was made of it."""
    found = [_row(f"{report.source.file} (source)", report.source, Comparison(file="", quantized=False))]
    found += [_row(each.file, each.result, each) for each in report.results if each.result is not None]
    return tuple(found)


def _row(name: str, side: Side, compared: Comparison) -> tuple[str, ...]:
    if side.classified:
        return (
            name,
            _number(compared.same_best, "{:.1%}"),
            _number(compared.mean_score_drift, "{:.4f}"),
            _number(side.accuracy, "{:.3f}"),
            f"{side.latency_ms:.1f} ms",
            f"{side.size_bytes / 1e6:.2f} MB",
        )
    return (
        name,
        _number(compared.matched_share, "{:.1%}"),
        _number(compared.mean_shift_input, "{:.2f} px"),
        _number(compared.mean_score_drift, "{:.4f}"),
        _number(side.map50, "{:.3f}"),
        f"{side.latency_ms:.1f} ms",
        f"{side.size_bytes / 1e6:.2f} MB",
    )


def _compared(report: ParityReport) -> str:
    left_out = [f"{each.file} was not compared: {each.not_run}." for each in report.results if each.not_run]
    annotated = f", {report.annotated} of them annotated" if report.annotated else ""
    return " ".join(
        [f"Compared on the same {report.pictures} pictures{annotated}.", *left_out, *map(_ended, report.left_out)]
    )


def _ended(sentence: str) -> str:
    """With a full stop: what a compiler says has none, as a rule."""
    return sentence if sentence.endswith(".") else f"{sentence}."


def _title(key: str, version: str) -> str:
    """A `Task.key` in words."""
    parts = key.split("/")
    if len(parts) != 5:
        return key
    organization, project, model_id, source, target = parts
    return f"Version {version or model_id} of {organization}/{project} from {source} to {target}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _moment(when: float) -> str:
    return time.strftime("%d %b, %H:%M", time.localtime(when)).lstrip("0")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
