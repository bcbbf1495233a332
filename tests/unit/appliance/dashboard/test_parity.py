"""The report that a converter puts into a bundle, in sentences for the page of the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.dashboard.parity import parity_of

REPORT: dict[str, Any] = {
    "version": 1,
    "pictures": 30,
    "source": {"file": "network.pt", "size_bytes": 450_000, "map50": 0.9768},
    "results": [
        {
            "file": "model_int8.tflite",
            "result": {"size_bytes": 160_000, "map50": 0.9742},
            "matched_share": 0.983,
            "mean_shift_px": 0.4266,
            "largest_shift_px": 3.4462,
            "mean_score_drift": 0.0037,
        },
        {"file": "model_int8_edgetpu.tflite", "not_run": "there is no edgetpu on this machine"},
    ],
}


def test_the_numbers_are_told(tmp_path: Path) -> None:
    (tmp_path / "parity.json").write_text(json.dumps(REPORT))
    assert parity_of(tmp_path) == (
        "model_int8.tflite, on 30 pictures: 98.3% of the detections match; boxes 0.4 pixels apart on average, 3.4 at most; "
        "confidences 0.004 apart; mAP50 0.974, its source 0.977; 0.2 MB",
        "model_int8_edgetpu.tflite: not compared where it was made",
    )


def test_of_what_classifies_whole_pictures_the_surest_class_is_told(tmp_path: Path) -> None:
    report = {
        "pictures": 30,
        "source": {"file": "network.pt", "size_bytes": 450_000, "accuracy": 0.97},
        "results": [
            {
                "file": "model_int8.tflite",
                "result": {"size_bytes": 160_000, "accuracy": 0.96},
                "same_best": 0.98,
                "mean_score_drift": 0.0037,
            }
        ],
    }
    (tmp_path / "parity.json").write_text(json.dumps(report))
    assert parity_of(tmp_path) == (
        "model_int8.tflite, on 30 pictures: the surest class is the same in 98.0%; confidences 0.004 apart; "
        "accuracy 0.960, its source 0.970; 0.2 MB",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{" * 100_000,
        b"\xff\xfe",
        json.dumps({**REPORT, "pictures": "many"}).encode(),
        json.dumps({**REPORT, "results": [{"file": "x" * 1000}]}).encode(),
        json.dumps({**REPORT, "results": REPORT["results"] * 100}).encode(),
        json.dumps(REPORT).encode() + b" " * 300_000,
    ],
)
def test_what_is_no_report_shows_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "parity.json").write_bytes(content)
    assert parity_of(tmp_path) == ()


def test_no_report_and_a_link_show_nothing(tmp_path: Path) -> None:
    assert parity_of(tmp_path) == ()
    (tmp_path / "elsewhere.json").write_text(json.dumps(REPORT))
    (tmp_path / "parity.json").symlink_to(tmp_path / "elsewhere.json")
    assert parity_of(tmp_path) == ()
