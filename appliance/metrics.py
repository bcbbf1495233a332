"""What the box has done, for Prometheus: counted where it happens, read where it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.errors import DetectorApplianceError

BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

Reading = tuple[str, str, float, dict[str, str]]
"""Name, help, value, labels. A name that ends in `_total` is a counter, any other a gauge."""


class Metrics:
    """Counters of requests and stages; everything else is read from the services when somebody looks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._detections = Counter(
            "detector_requests_total", "Detections asked for", ["source", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "detector_request_seconds",
            "From request to answer",
            ["source"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "detector_stage_seconds",
            "Where the time of a detection went: wait, decode, inference, postprocess",
            ["stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    @contextmanager
    def detection(self, source: str) -> Iterator[None]:
        """Count and time one detection; `source` is `rest` or `socketio`."""
        started = time.perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        except DetectorApplianceError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._detections.labels(source, outcome).inc()
            self._seconds.labels(source).observe(time.perf_counter() - started)

    def stages(self, timings: dict[str, float]) -> None:
        """Note where the milliseconds of a detection went."""
        for stage, milliseconds in timings.items():
            self._stages.labels(stage).observe(milliseconds / 1e3)

    def read_from(self, readings: Callable[[], Iterable[Reading]]) -> None:
        """Ask for these whenever somebody looks."""
        self.registry.register(_Readings(readings))

    def render(self) -> tuple[bytes, str]:
        """Body and content type of `/metrics`."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Readings(Collector):
    def __init__(self, readings: Callable[[], Iterable[Reading]]) -> None:
        self._readings = readings

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is shows when it is collected."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All readings, by name."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, text, value, labels in self._readings():
            family = families.get(name)
            if family is None:
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                family = families[name] = kind(name, text, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        return families.values()
