"""What a stretch of load has shown: latencies, throughput, CPU per picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def percentile(values: Sequence[float], percent: float) -> float:
    """The `percent`th percentile, linearly interpolated; NaN where there are no values."""
    return float(np.percentile(values, percent)) if values else float("nan")


def median(values: Sequence[float]) -> float:
    """The middle one of the values that are numbers; NaN where there are none."""
    numbers = [value for value in values if value == value]
    return percentile(numbers, 50)


@dataclass(frozen=True)
class Answer:
    """One request that was answered with detections. Times are seconds of the monotonic clock."""

    start: float
    end: float
    version: str

    @property
    def milliseconds(self) -> float:
        """From the first byte sent to the last byte received."""
        return (self.end - self.start) * 1000


@dataclass(frozen=True)
class Sample:
    """One stretch of load on one contestant."""

    milliseconds: Sequence[float]
    seconds: float
    cpu_seconds: float
    clients_cpu_seconds: float = 0.0
    worker_cpu_seconds: float = 0.0
    others: float = 0.0
    """Share of the machine (0..1) that somebody else used meanwhile."""
    failures: Sequence[str] = ()
    answers: Sequence[Answer] = field(default=(), repr=False)

    @property
    def p50(self) -> float:
        """Median latency, milliseconds."""
        return percentile(self.milliseconds, 50)

    @property
    def p99(self) -> float:
        """Latency that one request in a hundred exceeds, milliseconds."""
        return percentile(self.milliseconds, 99)

    @property
    def per_second(self) -> float:
        """Pictures answered per second."""
        return len(self.milliseconds) / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU per picture of the contestant and all its children, milliseconds."""
        return self.cpu_seconds / max(len(self.milliseconds), 1) * 1000

    @property
    def worker_cpu_ms(self) -> float:
        """That part of `cpu_ms` which the inference worker used, milliseconds; 0 where there is none."""
        return self.worker_cpu_seconds / max(len(self.milliseconds), 1) * 1000

    @property
    def clients_cpu_ms(self) -> float:
        """CPU per picture of the clients, milliseconds."""
        return self.clients_cpu_seconds / max(len(self.milliseconds), 1) * 1000

    def as_json(self) -> dict[str, Any]:
        """Everything but the single answers."""
        return {
            "pictures": len(self.milliseconds),
            "seconds": round(self.seconds, 3),
            "p50_ms": round(self.p50, 2),
            "p99_ms": round(self.p99, 2),
            "max_ms": round(max(self.milliseconds, default=float("nan")), 2),
            "pictures_per_second": round(self.per_second, 2),
            "cpu_ms_per_picture": round(self.cpu_ms, 2),
            "worker_cpu_ms_per_picture": round(self.worker_cpu_ms, 2),
            "clients_cpu_ms_per_picture": round(self.clients_cpu_ms, 2),
            "others_share_of_the_machine": round(self.others, 3),
            "failures": list(self.failures),
        }
