"""What a converter found when it compared a model with its source: `parity.json` of a bundle, in sentences.

The file comes with the model, from anybody: what is odd about it is left out, and it is never a reason to show no model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE = "parity.json"
MOST_BYTES = 256 * 1024

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Name = Annotated[str, Field(max_length=200)]


class _Side(BaseModel):
    model_config = ConfigDict(extra="ignore")

    size_bytes: Annotated[int, Field(ge=0, le=2**53)]
    map50: _Number | None = None
    accuracy: _Number | None = None


class _Comparison(BaseModel):
    model_config = ConfigDict(extra="ignore")

    file: _Name
    result: _Side | None = None
    matched_share: _Number | None = None
    same_best: _Number | None = None
    mean_shift_px: _Number | None = None
    largest_shift_px: _Number | None = None
    mean_score_drift: _Number | None = None


class _Parity(BaseModel):
    model_config = ConfigDict(extra="ignore")

    pictures: Annotated[int, Field(ge=0, le=10**9)]
    source: _Side
    results: Annotated[list[_Comparison], Field(max_length=16)]


def parity_of(folder: Path) -> tuple[str, ...]:
    """A sentence for each weight file that was compared; empty where there is no report, or none that is one. Blocks."""
    path = folder / FILE
    try:
        if path.is_symlink() or path.stat().st_size > MOST_BYTES:
            return ()
        report = _Parity.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return ()
    return tuple(_sentence(report, each) for each in report.results)


def _sentence(report: _Parity, compared: _Comparison) -> str:
    result = compared.result
    if result is None:
        return f"{compared.file}: not compared where it was made"
    parts = []
    if compared.matched_share is not None:
        parts.append(f"{compared.matched_share:.1%} of the detections match")
    if compared.same_best is not None:
        parts.append(f"the surest class is the same in {compared.same_best:.1%}")
    if compared.mean_shift_px is not None and compared.largest_shift_px is not None:
        parts.append(
            f"boxes {compared.mean_shift_px:.1f} pixels apart on average, {compared.largest_shift_px:.1f} at most"
        )
    if compared.mean_score_drift is not None:
        parts.append(f"confidences {compared.mean_score_drift:.3f} apart")
    if result.map50 is not None and report.source.map50 is not None:
        parts.append(f"mAP50 {result.map50:.3f}, its source {report.source.map50:.3f}")
    if result.accuracy is not None and report.source.accuracy is not None:
        parts.append(f"accuracy {result.accuracy:.3f}, its source {report.source.accuracy:.3f}")
    parts.append(f"{result.size_bytes / 1e6:.1f} MB")
    return f"{compared.file}, on {report.pictures} pictures: {'; '.join(parts)}"
