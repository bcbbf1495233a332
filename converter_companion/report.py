"""What the comparison of a converted model with its source found: numbers, limits, sentences. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.errors import ModelFailed

FILE = "parity.json"
"""Its name in the bundle."""

VERSION = 1


class ParityExceeded(ModelFailed):
    """A converted model is not what its source is. `report` has the numbers; the message names those beyond their limits."""

    def __init__(self, message: str, report: ParityReport) -> None:
        super().__init__(message)
        self.report = report


class Limits(BaseModel):
    """How far quantized weights may be from their source. Weights in half precision: half of it; other floats: a tenth.

    Pixels are those of the model's input, so that a limit means the same for every picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unmatched: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of detections that the other one does not have (classifications: of pictures with another class)",
    )
    mean_shift: float = Field(default=2.0, gt=0, description="mean shift of the sides of boxes, pixels of the input")
    largest_shift: float = Field(default=24.0, gt=0, description="largest shift of a side, pixels of the input")
    score_drift: float = Field(default=0.08, gt=0, le=1, description="mean difference of confidences")
    map_loss: float = Field(
        default=0.02, ge=0, le=1, description="loss of mAP50 (classifications: accuracy), where pictures are annotated"
    )
    output_error: float = Field(
        default=0.05, gt=0, description="mean difference of a raw output, relative to the spread of its values"
    )

    def divided(self, by: float) -> Limits:
        """The same for weights that should be nearer to their source."""
        return Limits(**{name: value / by for name, value in self.model_dump().items()})


class Side(BaseModel):
    """One set of weights. `latency_ms`: median of the inference alone, one CPU thread.

    `detections`: boxes, or classes of whole pictures, from the threshold on. `map50`, of detectors, and `accuracy`, of what
    classifies whole pictures (`classified` of them; of detectors 0): where pictures are annotated, 0..1.
    """

    file: str
    runtime: str
    size_bytes: int
    latency_ms: float
    detections: int
    map50: float | None = None
    classified: int = 0
    accuracy: float | None = None


class Comparison(BaseModel):
    """Weights beside those they were made of. Shifts in pixels of the pictures, and of the model's input (`_input`).

    `quantized`: computed in integers; `half`: in half precision.
    `matched_share`: of the detections of both, those that the other one has, too. `same_best`: of the pictures that are
    classified as a whole, those whose surest class is the same; such pictures have no boxes and no shifts. `exceeded`: limits
    that were. `not_run`: why these weights could not be run here; then nothing was compared.
    """

    result: Side | None = None
    file: str
    quantized: bool
    half: bool = False
    matched_share: float | None = None
    same_best: float | None = None
    mean_shift_px: float | None = None
    largest_shift_px: float | None = None
    mean_shift_input: float | None = None
    largest_shift_input: float | None = None
    mean_score_drift: float | None = None
    largest_score_drift: float | None = None
    output_errors: dict[str, float] = Field(default_factory=dict)
    exceeded: list[str] = Field(default_factory=list)
    not_run: str | None = None


class ParityReport(BaseModel):
    """`parity.json`. `threshold`: confidence from which a detection counts; `unreadable`: pictures left out.

    `left_out`: sentences about weights that could not be made beside these.
    """

    model_config = ConfigDict(extra="ignore")

    version: int = VERSION
    pictures: int
    unreadable: int = 0
    annotated: int = 0
    threshold: float
    source: Side
    results: list[Comparison]
    left_out: list[str] = Field(default_factory=list)
    limits: Limits

    @property
    def exceeded(self) -> list[str]:
        """Every limit that was exceeded, as sentences with the file they are about."""
        return [f"{each.file}: {sentence}" for each in self.results for sentence in each.exceeded]

    def refuse_if_exceeded(self) -> None:
        """Raise `ParityExceeded` with the numbers, if any limit was exceeded, or nothing could be compared."""
        if all(each.result is None for each in self.results):
            why = "; ".join(f"{each.file}: {each.not_run}" for each in self.results)
            raise ParityExceeded(
                f"None of the converted weights could be run, so nobody knows whether they are right. {why}", self
            )
        if self.exceeded:
            raise ParityExceeded(
                f"The converted model does not see what its source sees in the same {self.pictures} pictures. "
                + " ".join(f"{sentence}." for sentence in self.exceeded),
                self,
            )

    def as_json(self) -> dict[str, Any]:
        """For the file in the bundle."""
        return self.model_dump(mode="json", exclude_none=True)


def judge(compared: Comparison, source: Side, limits: Limits) -> list[str]:
    """Which limits a comparison exceeds, each as a sentence with the number and the limit."""
    result = compared.result
    assert result is not None
    if not compared.quantized:
        limits = limits.divided(2 if compared.half else 10)
    both = source.detections + result.detections
    found: list[str] = []
    share = compared.matched_share
    # One detection more or less is chance where there are few.
    if share is not None and (1 - share) * both > max(2.5, limits.unmatched * both):
        found.append(f"{share:.0%} of the detections match, at least {1 - limits.unmatched:.0%} should")
    same = compared.same_best
    if same is not None and (1 - same) * source.classified > max(1.5, limits.unmatched * source.classified):
        found.append(
            f"the surest class is the same in {same:.0%} of the pictures, in at least {1 - limits.unmatched:.0%} it should be"
        )
    _over(found, "boxes are shifted by {} pixels of the input on average", compared.mean_shift_input, limits.mean_shift)
    _over(found, "a box is shifted by {} pixels of the input", compared.largest_shift_input, limits.largest_shift)
    _over(found, "confidences differ by {} on average", compared.mean_score_drift, limits.score_drift)
    if source.map50 is not None and result.map50 is not None:
        _over(found, "mAP50 is lower by {}", source.map50 - result.map50, limits.map_loss)
    if source.accuracy is not None and result.accuracy is not None:
        _over(found, "accuracy is lower by {}", source.accuracy - result.accuracy, limits.map_loss)
    for name, error in compared.output_errors.items():
        if not math.isfinite(error):
            found.append(f"the raw output {name} has values that are infinite or no numbers")
            continue
        _over(found, f"the raw output {name} differs by {{}} of its spread on average", error, limits.output_error)
    if share is None and same is None and not compared.output_errors:
        found.append("neither of the two sees anything in these pictures, and their raw outputs are of different kinds")
    return found


def _over(found: list[str], sentence: str, value: float | None, limit: float) -> None:
    if value is not None and not value <= limit:
        found.append(f"{sentence.format(f'{value:.3g}')}, at most {limit:.3g} is allowed")


def table(report: ParityReport) -> str:
    """The report for people, in columns."""
    ran = [each for each in report.results if each.result is not None]
    sides = [report.source, *(each.result for each in ran if each.result is not None)]
    rows: list[list[str]] = [
        ["", *(side.file for side in sides)],
        ["runtime", *(side.runtime for side in sides)],
        ["size", *(f"{side.size_bytes / 1e6:.2f} MB" for side in sides)],
        ["latency, one thread", *(f"{side.latency_ms:.2f} ms" for side in sides)],
        *(_rows_of_classes(sides, ran) if report.source.classified else _rows_of_boxes(sides, ran)),
        ["mean score drift", "", *(_number(each.mean_score_drift) for each in ran)],
        ["largest score drift", "", *(_number(each.largest_score_drift) for each in ran)],
    ]
    for name in dict.fromkeys(name for each in ran for name in each.output_errors):
        rows.append([f"raw {name}, error", "", *(_number(each.output_errors.get(name)) for each in ran)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides) + 1)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{each.file}: not compared: {each.not_run}" for each in report.results if each.not_run]
    lines += report.left_out
    lines += [f"Beyond its limit: {sentence}" for sentence in report.exceeded]
    counted = "classified as a whole" if report.source.classified else "detections"
    return "\n".join([f"{_pictures(report)}, {counted} from a confidence of {report.threshold:.2f}", *lines])


def _rows_of_boxes(sides: Sequence[Side], ran: Sequence[Comparison]) -> list[list[str]]:
    return [
        ["detections", *(str(side.detections) for side in sides)],
        ["mAP50", *(_number(side.map50) for side in sides)],
        ["matched share", "", *(_number(each.matched_share) for each in ran)],
        ["mean box shift, px", "", *(_number(each.mean_shift_px) for each in ran)],
        ["largest box shift, px", "", *(_number(each.largest_shift_px) for each in ran)],
    ]


def _rows_of_classes(sides: Sequence[Side], ran: Sequence[Comparison]) -> list[list[str]]:
    return [
        ["accuracy", *(_number(side.accuracy) for side in sides)],
        ["same surest class", "", *(_number(each.same_best) for each in ran)],
    ]


def _pictures(report: ParityReport) -> str:
    left = f" ({report.unreadable} unreadable)" if report.unreadable else ""
    return f"{report.pictures} pictures{left}, {report.annotated} annotated"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return sum(values) / len(values) if values else None
