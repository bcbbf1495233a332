"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from appliance.metrics import Metrics, Reading
from models.errors import ImageUnreadable


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, as Prometheus would read them."""
    body, media_type = metrics.render()
    assert media_type == CONTENT_TYPE_LATEST
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_detections_are_counted_by_source_and_outcome_and_timed() -> None:
    metrics = Metrics()

    with metrics.detection("rest"):
        pass
    with pytest.raises(ImageUnreadable), metrics.detection("rest"):
        raise ImageUnreadable("no picture")
    with pytest.raises(ZeroDivisionError), metrics.detection("socketio"):
        raise ZeroDivisionError

    found = samples(metrics)
    name = "detector_requests_total"
    assert found[name, (("outcome", "ok"), ("source", "rest"))] == 1
    assert found[name, (("outcome", "ImageUnreadable"), ("source", "rest"))] == 1
    assert found[name, (("outcome", "failed"), ("source", "socketio"))] == 1
    assert found["detector_request_seconds_count", (("source", "rest"),)] == 2


def test_stages_come_in_milliseconds_and_are_told_in_seconds() -> None:
    metrics = Metrics()

    metrics.stages({"decode": 4.0, "inference": 30.0})
    metrics.stages({"decode": 6.0, "inference": 50.0})

    found = samples(metrics)
    assert found["detector_stage_seconds_sum", (("stage", "decode"),)] == pytest.approx(0.010)
    assert found["detector_stage_seconds_sum", (("stage", "inference"),)] == pytest.approx(0.080)
    assert found["detector_stage_seconds_count", (("stage", "inference"),)] == 2


def test_readings_are_asked_for_when_somebody_looks() -> None:
    metrics, asked = Metrics(), [0]

    def readings() -> Iterable[Reading]:
        asked[0] += 1
        yield "box_looks_total", "How often somebody looked", float(asked[0]), {}
        yield "box_things", "Things", 1.0, {"kind": "a"}
        yield "box_things", "Things", 2.0, {"kind": "b"}

    metrics.read_from(readings)
    assert asked == [0]

    assert samples(metrics)["box_looks_total", ()] == 1
    found = samples(metrics)
    assert found["box_looks_total", ()] == 2
    assert (found["box_things", (("kind", "a"),)], found["box_things", (("kind", "b"),)]) == (1, 2)


def test_names_from_outside_are_escaped() -> None:
    metrics = Metrics()
    nasty = 'a"b\\c\nd{}'
    metrics.read_from(lambda: [("box_things", "Things", 1.0, {"kind": nasty})])

    assert samples(metrics)["box_things", (("kind", nasty),)] == 1
